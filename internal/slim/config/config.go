// Package config stands in for sops's package of the same name, which reads .sops.yaml and for that links the clients of
// all services. Of it the readers of file formats need the types of their settings, and nothing else is ever called.
package config

type ( // the settings of each format
	DotenvStoreConfig     struct{}
	INIStoreConfig        struct{}
	JSONStoreConfig       struct{ Indent int }
	JSONBinaryStoreConfig struct{ Indent int }
	YAMLStoreConfig       struct{ Indent int }
)

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
