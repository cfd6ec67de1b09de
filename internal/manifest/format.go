package manifest

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Format is the format of a sops file.
type Format string

// The formats that sops reads.
const (
	YAML   Format = "yaml"
	JSON   Format = "json"
	Binary Format = "binary"
	Dotenv Format = "dotenv"
	INI    Format = "ini"
)

// formats is what there is to know of each format without sops; how files of it are read is in
// package sopsfile. The linter "exhaustive" finds a format that has no row.
var formats = map[Format]struct {
	title      string // "not YAML" in messages
	extensions []string
	// whole says that a secret is the whole file, whatever its key: in every manifest, or in one
	// of the reference, whose module always writes a key.
	whole, wholeInReference bool
}{
	YAML:   {title: "YAML", extensions: []string{".yaml", ".yml"}},
	JSON:   {title: "JSON", extensions: []string{".json"}},
	Binary: {title: "a binary sops file (which is JSON)", whole: true, wholeInReference: true},
	Dotenv: {title: "dotenv", extensions: []string{".env"}, wholeInReference: true},
	INI:    {title: "INI", extensions: []string{".ini"}, wholeInReference: true},
}

// Formats are all formats, sorted by name.
func Formats() []Format { return slices.Sorted(maps.Keys(formats)) }

// Title is the format as messages name it.
func (f Format) Title() string { return formats[f].title }

// FormatOf is the format that sops takes a file for by its name.
func FormatOf(path string) Format {
	for format, facts := range formats {
		if slices.Contains(facts.extensions, filepath.Ext(path)) {
			return format
		}
	}
	return Binary
}

// formatNames are the names of all formats, for messages.
func formatNames() string {
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}
