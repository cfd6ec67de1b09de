package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/inputfile"
)

// maxBytes bounds a manifest. One with ten thousand secrets has a few MiB.
const maxBytes = 64 << 20

// version is the newest schema this package knows.
const version = sealVersion

// The raw types are the JSON documents as they are written, before anything is checked.

type rawCommon struct {
	Version  int  `json:"version"`
	UserMode bool `json:"userMode"`
	KeySources
	PlaceholderBySecretName map[string]string `json:"placeholderBySecretName"`
}

type rawSource struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	SopsFile string `json:"sopsFile"`
	Format   string `json:"format"`
}

type rawText struct {
	Name    string `json:"name"`
	Content string `json:"content"`
	File    string `json:"file"`
}

type rawPlacement struct {
	Path         string   `json:"path"`
	Mode         string   `json:"mode"`
	Owner        *string  `json:"owner"`
	UID          int64    `json:"uid"`
	Group        *string  `json:"group"`
	GID          int64    `json:"gid"`
	RestartUnits []string `json:"restartUnits"`
	ReloadUnits  []string `json:"reloadUnits"`
}

type rawManifest struct {
	rawCommon
	Secrets []struct {
		rawSource
		rawPlacement
	} `json:"secrets"`
	Templates []struct {
		rawText
		rawPlacement
	} `json:"templates"`
	SecretsMountPoint string  `json:"secretsMountPoint"`
	SymlinkPath       string  `json:"symlinkPath"`
	KeepGenerations   int     `json:"keepGenerations"`
	UseTmpfs          bool    `json:"useTmpfs"`
	GenerateAgeKey    bool    `json:"generateAgeKey"`
	Logging           Logging `json:"logging"`
}

type rawInitrd struct {
	rawCommon
	Prefix    *string     `json:"prefix"`
	Seal      *Sealing    `json:"seal"`
	StageOne  *StageOne   `json:"stageOne"`
	Secrets   []rawSource `json:"secrets"`
	Templates []rawText   `json:"templates"`
	Entries   []rawEntry  `json:"entries"`
}

type rawEntry struct {
	Path     string  `json:"path"`
	Prefix   *string `json:"prefix"`
	Secret   string  `json:"secret"`
	Template string  `json:"template"`
	Source   string  `json:"source"`
	Seal     Seal    `json:"seal"`
	Mode     *string `json:"mode"`
	UID      int64   `json:"uid"`
	GID      int64   `json:"gid"`

	Credential string `json:"credential"`
}

// Read reads and checks the activation manifest at path.
func Read(path string) (*Manifest, error) { return read(path, Parse) }

// ReadInitrd reads and checks the initrd manifest at path.
func ReadInitrd(path string) (*Initrd, error) { return read(path, ParseInitrd) }

func read[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	data, err := inputfile.Read(path, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", path, err)
	}
	m, err := parse(data)
	if err != nil {
		return nil, prefixEach("manifest "+path+": ", err)
	}
	return m, nil
}

// prefixEach puts the same words before every one of the joined faults, so that each still stands
// on a line of its own.
func prefixEach(prefix string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // only a join itself is taken apart
	if !ok {
		return fmt.Errorf("%s%w", prefix, err)
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, fmt.Errorf("%s%w", prefix, e))
	}
	return errors.Join(all...)
}

// Parse decodes and checks an activation manifest. All faults are reported, joined, each with the
// name of its field.
func Parse(data []byte) (*Manifest, error) {
	var raw rawManifest
	if err := decode(data, &raw); err != nil {
		return nil, err
	}
	return raw.check()
}

// ParseInitrd decodes and checks an initrd manifest. All faults are reported, joined, each with
// the name of its field.
func ParseInitrd(data []byte) (*Initrd, error) {
	var raw rawInitrd
	if err := decode(data, &raw); err != nil {
		return nil, err
	}
	return raw.check()
}

// decode turns the messages of encoding/json into ones that say where the fault is.
func decode(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		line, column := position(data, syntax.Offset)
		return fmt.Errorf("not JSON: line %d, column %d: %w", line, column, err)
	case errors.As(err, &wrongType):
		field := fieldName(wrongType.Field)
		line, _ := position(data, wrongType.Offset)
		return fmt.Errorf("line %d: %s: got a JSON %s, want %s", line, field, wrongType.Value, jsonKind(wrongType.Type))
	default:
		return fmt.Errorf("not JSON: %w", err)
	}
}

// fieldName is the name of a field in the document: encoding/json names the Go types too that a
// type is made of.
func fieldName(path string) string {
	elements := slices.DeleteFunc(strings.Split(path, "."), func(element string) bool {
		return element == "" || element == "rawCommon" || element == "rawSource" || element == "rawText" || element == "rawPlacement" || element == "KeySources"
	})
	if len(elements) == 0 {
		return "document"
	}
	return strings.Join(elements, ".")
}

// position turns an offset that encoding/json counts behind the offending byte into line and
// column, both from 1.
func position(data []byte, offset int64) (line, column int) {
	line, column = 1, 1
	for i := int64(0); i < offset-1 && i < int64(len(data)); i++ {
		column++
		if data[i] == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}
