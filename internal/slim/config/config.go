// Package config stands in for sops's package of the same name, which reads .sops.yaml and for that
// links the clients of all services. Of it the readers of file formats need the types of their
// settings, and nothing else is ever called.
package config

// DotenvStoreConfig is the settings of dotenv files.
type DotenvStoreConfig struct{}

// INIStoreConfig is the settings of INI files.
type INIStoreConfig struct{}

// JSONStoreConfig is the settings of JSON files.
type JSONStoreConfig struct{ Indent int }

// JSONBinaryStoreConfig is the settings of binary files.
type JSONBinaryStoreConfig struct{ Indent int }

// YAMLStoreConfig is the settings of YAML files.
type YAMLStoreConfig struct{ Indent int }

// StoresConfig is the settings of all formats.
type StoresConfig struct {
	Dotenv     DotenvStoreConfig
	INI        INIStoreConfig
	JSONBinary JSONBinaryStoreConfig
	JSON       JSONStoreConfig
	YAML       YAMLStoreConfig
}

// NewStoresConfig returns what sops does where nothing is set: JSON is indented by tabs.
func NewStoresConfig() *StoresConfig {
	return &StoresConfig{JSON: JSONStoreConfig{Indent: -1}, JSONBinary: JSONBinaryStoreConfig{Indent: -1}}
}
