package manifest

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"testing"
)

// The module offers the formats that the programs know, and takes the same ones whole.
func TestFormats_module(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../nixos/formats.nix")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the package is built without the module")
	}
	if err != nil {
		t.Fatal(err)
	}
	keyed, whole := []Format{}, []Format{}
	list := &keyed
	for _, word := range regexp.MustCompile(`"(\w+)"|\bwhole = `).FindAllStringSubmatch(string(text), -1) {
		if word[1] == "" {
			list = &whole
		} else {
			*list = append(*list, Format(word[1]))
		}
	}
	for _, f := range whole {
		if !formats[f].wholeInReference {
			t.Errorf("%q is whole in the module and not here", f)
		}
	}
	if all := slices.Sorted(slices.Values(slices.Concat(keyed, whole))); !slices.Equal(all, Formats()) {
		t.Errorf("the module has %q, the programs know %q", all, Formats())
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]Format{
		"a.yaml": YAML, "/b/c.yml": YAML, "a.json": JSON, ".env": Dotenv, "a.env": Dotenv, "a.ini": INI,
		"a": Binary, "a.YAML": Binary, "yaml": Binary, "a.yaml/b": Binary,
	} {
		if got := FormatOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
