package sopsfile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// metadata is what a parser needs to take a file for a sops file.
const yamlMetadata = `sops:
  lastmodified: "2026-01-01T00:00:00Z"
  mac: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]
  version: 3.9.0
  age: [{recipient: age1x, enc: x}]
`

const jsonMetadata = `"sops": {"lastmodified": "2026-01-01T00:00:00Z", "mac": "x", "version": "3.9.0", "age": [{"recipient": "age1x", "enc": "x"}]}`

// nested is text n levels deep.
func nested(n int, begin, text, end string) string {
	return strings.Repeat(begin, n) + text + strings.Repeat(end, n)
}

// Files that no memory and no stack is large enough for are refused before they are parsed, and in
// no time.
func TestParse_bounds(t *testing.T) {
	t.Parallel()
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		laughs += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "*" + string(c-1) + "]\n"
	}
	flat := "sops_version=3.9.0\nsops_mac=x\nsops_lastmodified=2026-01-01T00:00:00Z\n"
	for _, c := range []struct {
		name   string
		format manifest.Format
		text   string
		want   string
	}{
		{"JSON, objects", manifest.JSON, "{" + jsonMetadata + `, "a": ` + nested(3_000_000, `{"a":`, "1", "}") + "}", "nested deeper than 10000 levels"},
		{"JSON, lists", manifest.JSON, "{" + jsonMetadata + `, "a": ` + nested(3_000_000, "[", "1", "]") + "}", "nested deeper than 10000 levels"},
		{"JSON, never closed", manifest.JSON, strings.Repeat(`{"a\"":[`, 1_000_000), "nested deeper than 10000 levels"},
		{"JSON, in the metadata", manifest.JSON, `{"a": 1, "sops": {"age": ` + nested(3_000_000, "[", "1", "]") + "}}", "nested deeper than 10000 levels"},
		{"binary", manifest.Binary, `{"data": ` + nested(3_000_000, `{"a":`, "1", "}") + "}", "nested deeper than 10000 levels"},
		{"YAML, flow", manifest.YAML, "a: " + nested(3_000_000, "[", "1", "]") + "\n" + yamlMetadata, "nested deeper than 10000 levels"},
		{"YAML, block", manifest.YAML, "a:\n  " + strings.Repeat("- ", 3_000_000) + "1\n" + yamlMetadata, "nested deeper than 10000 levels"},
		{"JSON as YAML", manifest.YAML, "{" + jsonMetadata + `, "a": ` + nested(3_000_000, `{"a":`, "1", "}") + "}", "nested deeper than 10000 levels"},
		{"YAML, aliases of aliases", manifest.YAML, laughs + yamlMetadata, "its aliases stand for more than 1000000 values"},
		{"YAML, in the second document", manifest.YAML, "a: 1\n" + yamlMetadata + "---\n" + laughs, "its aliases stand for more than 1000000 values"},
		{"YAML, an alias of itself", manifest.YAML, "a: 1\n" + yamlMetadata + "---\na: &a [*a]\n", "its aliases stand for more than 1000000 values"},
		{"YAML, a map that holds itself", manifest.YAML, "a: &a\n  b: {c: *a}\n" + yamlMetadata, "its aliases stand for more than 1000000 values"},
		{"dotenv, metadata", manifest.Dotenv, flat + "sops_a" + strings.Repeat("__map_a", 3_000_000) + "=1\n", "nested deeper than 10000 levels"},
		{"dotenv, metadata in lists", manifest.Dotenv, flat + "sops_a" + strings.Repeat("__list_0", 3_000_000) + "=1\n", "nested deeper than 10000 levels"},
		{"dotenv, lines of metadata", manifest.Dotenv, flat + strings.Repeat("sops_x=1\n", 1_000_000), "more than 10000 lines of sops metadata"},
		{"INI, metadata", manifest.INI, "[sops]\na" + strings.Repeat("__map_a", 3_000_000) + " = 1\n", "nested deeper than 10000 levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, err := Parse("f", []byte(c.text), c.format)
			if err == nil || err.Error() != c.want {
				t.Errorf("error is %.200q, want %q", err.Error(), c.want)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// What is large and deep in the bounds is read.
func TestParse_withinBounds(t *testing.T) {
	t.Parallel()
	lists := nested(9_990, "[", "1", "]")
	for name, c := range map[string]struct {
		format manifest.Format
		text   string
	}{
		"JSON":              {manifest.JSON, `{"a": ` + lists + `, "b": "` + strings.Repeat(`{[\"\\`, 20_000) + `", ` + jsonMetadata + "}"},
		"YAML":              {manifest.YAML, "a: " + lists + "\n" + yamlMetadata},
		"YAML with aliases": {manifest.YAML, "a: &a [1, 2]\nb: [*a, *a]\n" + strings.Repeat("#\n", 2) + yamlMetadata},
		"YAML, large":       {manifest.YAML, "# comment\na: [" + strings.Repeat("1,", 1_100_000) + "1]\n" + yamlMetadata},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse("f", []byte(c.text), c.format); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that is too large is not read.
func TestOpen_bounds(t *testing.T) {
	t.Parallel()
	sparse := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(sparse, manifest.YAML); err == nil || err.Error() != "larger than 64 MiB" {
		t.Errorf("error is %v", err)
	}
}

// Metadata that sops's own code stumbles over are an error like every other.
func TestParse_metadataWithoutValue(t *testing.T) {
	t.Parallel()
	text := `{"a": 1, "sops": {"lastmodified": "2026-01-01T00:00:00Z", "mac": "x", "version": "3.9.0",
		"kms": [{"arn": "a", "created_at": "2026-01-01T00:00:00Z", "enc": "x", "context": {"a": null}}]}}`
	f, err := Parse("f", []byte(text), manifest.JSON)
	if err == nil {
		_, _, err = f.Decrypt(context.Background(), ringOf(t))
	}
	if err == nil {
		t.Error("it is taken")
	}
}
