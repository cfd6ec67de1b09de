package sopsfile

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// line is the line of a file that begins with a word.
func line(t *testing.T, text, word string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(word) + `.*\n`).FindString(text)
	if found == "" {
		t.Fatalf("no line begins with %q", word)
	}
	return found
}

// Whatever is done to a file without sops is found, is said with the name of the key where that is
// known, and is said without a value or an authentication code.
func TestDecrypt_findsTampering(t *testing.T) {
	t.Parallel()
	text := read(t, "testdata/corpus/v3.13.3/secrets.yaml")
	replace := func(old, new string) string {
		changed := strings.Replace(text, old, new, 1)
		if changed == text {
			t.Fatalf("no %q", old)
		}
		return changed
	}
	password, unicode, number, mac := line(t, text, "password:"), line(t, text, "unicode:"), line(t, text, "number:"), line(t, text, "mac:")
	value := func(l string) string { _, v, _ := strings.Cut(l, ": "); return v }
	const changed, notEncrypted = "the value was changed, or moved from another key, without sops", "the value is not encrypted, but should be"
	const badMAC, oddMAC = "its message authentication code does not fit: values were added, removed or changed without sops", "its message authentication code, or lastmodified in the sops metadata, was changed"
	for _, c := range []struct{ name, text, want string }{
		{"value changed", replace(password, strings.Replace(password, "data:", "data:AAAA", 1)), `key "password": ` + changed},
		{"values swapped", replace(password, "password: "+value(unicode)), `key "password": ` + changed},
		{"value moved in", replace("        key: ENC", "        key2: ENC"), `key "map/inner/key2": ` + changed},
		{"value in a list changed", replace("    - ENC[AES256_GCM,data:", "    - ENC[AES256_GCM,data:AAAA"), `key "list": ` + changed},
		{"value in plain text", replace(password, "password: POISON\n"), `key "password": ` + notEncrypted},
		{"number in plain text", replace(number, "number: 31337\n"), "a value that should be encrypted is not (a number or a boolean in plain text)"},
		{"not base64", replace(password, "password: ENC[AES256_GCM,data:*,iv:*,tag:*,type:str]\n"), `key "password": ` + changed},
		{"unknown type", replace(password, strings.Replace(password, "type:str", "type:POISON", 1)), `key "password": ` + changed},
		{"type that makes sops panic", replace(password, strings.Replace(password, "type:str", "type:bytes", 1)), `key "password": ` + changed},
		{"type that does not fit", replace(password, strings.Replace(password, "type:str", "type:int", 1)), `key "password": ` + changed},
		{"string for a number", replace(number, strings.Replace(number, "type:int", "type:str", 1)), ""}, // the code does not cover the type: sops takes it too
		{"removed", replace(password, ""), badMAC},
		{"empty in its place", replace(password, "password: \"\"\n"), badMAC},
		{"plain value changed", replace("public_unencrypted: everyone", "public_unencrypted: nobody"), badMAC},
		{"plain value added", replace("public_unencrypted:", "more_unencrypted: x\npublic_unencrypted:"), badMAC},
		{"code changed", replace(mac, strings.Replace(mac, "data:", "data:AAAA", 1)), oddMAC},
		{"code of another value", replace(mac, "    mac: "+value(password)), oddMAC},
		{"time changed", replace("lastmodified: \"20", "lastmodified: \"19"), oddMAC},
		{"order changed", replace(password+line(t, text, "empty:")+unicode, unicode+password+line(t, text, "empty:")), badMAC},
		{"comment changed", replace("#ENC[AES256_GCM,data:", "#ENC[AES256_GCM,data:AAAA"), ""}, // sops takes it for one that was never encrypted
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secrets.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := open(t, path, manifest.YAML).Decrypt(context.Background(), ringOf(t, testkeys.SSHEd25519))
			if err == nil && c.want != "" || err != nil && err.Error() != c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// A file that is none says what it is not, and never what is in it.
func TestOpen_faults(t *testing.T) {
	t.Parallel()
	yaml := read(t, "testdata/corpus/v3.13.3/secrets.yaml")
	json := read(t, "testdata/corpus/v3.13.3/secrets.json")
	for _, c := range []struct {
		name   string
		format manifest.Format
		text   string
		want   string
	}{
		{"plain YAML", manifest.YAML, "password: POISON\n", "not encrypted with sops: there are no sops metadata in it"},
		{"plain JSON", manifest.JSON, `{"password": "POISON"}`, "not encrypted with sops: there are no sops metadata in it"},
		{"plain dotenv", manifest.Dotenv, "PASSWORD=POISON\n", "not encrypted with sops: there are no sops metadata in it"},
		{"plain INI", manifest.INI, "[a]\nb = POISON\n", "not encrypted with sops: there are no sops metadata in it"},
		{"plain text as binary", manifest.Binary, "POISON POISON", `not a binary sops file (which is JSON): line 1 cannot be read`},
		{"plain text as YAML", manifest.YAML, "POISON POISON POISON", `not a sops file: its content is no map`},
		{"plain text as JSON", manifest.JSON, "POISON", `not JSON: line 1 cannot be read`},
		{"plain text as dotenv", manifest.Dotenv, "POISON POISON", `not dotenv: line 1 has no =`},
		{"plain text as INI", manifest.INI, "POISON POISON", `not INI: line 1 is neither a section nor a value`},
		{"a number", manifest.JSON, "31337", `not JSON: it is no object`},
		{"empty YAML", manifest.YAML, "", "not encrypted with sops: there are no sops metadata in it"},
		{"empty JSON", manifest.JSON, "", `not JSON: it ends too early (was it cut off?)`},
		{"empty dotenv", manifest.Dotenv, "", "not encrypted with sops: there are no sops metadata in it"},
		{"empty INI", manifest.INI, "", "not encrypted with sops: there are no sops metadata in it"},
		{"broken YAML", manifest.YAML, "a: b\n c: POISON: d\n", `not YAML: line 2: mapping values are not allowed in this context`},
		{"a name twice", manifest.YAML, "a: POISON\na: POISON\n", `the key "a" stands twice, in lines 1 and 2`},
		{"JSON as YAML is YAML", manifest.YAML, json, ""},
		{"YAML as JSON", manifest.JSON, yaml, `not JSON: line 1 cannot be read; its format is "yaml", not "json"`},
		{"YAML as dotenv", manifest.Dotenv, yaml, `not dotenv: line 3 has no =; its format is "yaml", not "dotenv"`},
		{"YAML as binary", manifest.Binary, yaml, `not a binary sops file (which is JSON): line 1 cannot be read; its format is "yaml", not "binary"`},
		{"dotenv as INI", manifest.INI, read(t, "testdata/corpus/v3.13.3/secrets.env"), `there are no sops metadata in it, but encrypted values: it was cut off, or changed without sops; its format is "dotenv", not "ini"`},
		{"INI as YAML", manifest.YAML, read(t, "testdata/corpus/v3.13.3/secrets.ini"), `not a sops file: its content is no map; its format is "ini", not "yaml"`},
		{"metadata that are a string", manifest.YAML, "a: b\nsops: POISON\n", `the sops metadata are malformed: sops is no map`},
		{"metadata without recipients", manifest.YAML, "a: b\nsops:\n  lastmodified: '2020-01-01T00:00:00Z'\n  mac: x\n  version: 3.9.0\n", `it is encrypted for nobody: its sops metadata name no recipient`},
		{"metadata without a time", manifest.YAML, "a: b\nsops:\n  mac: x\n  version: 3.9.0\n", `the sops metadata are malformed: a time in them, lastmodified or created_at, is missing`},
		{"a list", manifest.YAML, "- POISON\n", `not a sops file: its content is no map`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secrets")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, c.format)
			if err == nil && c.want != "" || err != nil && err.Error() != c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
	if _, err := Open("/no/such/file", manifest.YAML); err == nil || err.Error() != "no such file or directory" {
		t.Errorf("error is %v", err)
	}
	if _, err := Open(t.TempDir(), manifest.YAML); err == nil || err.Error() != "is a directory, not a file" {
		t.Errorf("error is %v", err)
	}
}

// A JSON file that is said to be binary is one only with a string named data.
func TestValue_notBinary(t *testing.T) {
	t.Parallel()
	const want = `not a binary sops file (which is JSON): it has no value named "data" that is a string`
	f := open(t, "testdata/corpus/v3.13.3/secrets.json", manifest.Binary)
	if _, err := decrypt(t, f, testkeys.SSHEd25519).Value(""); err == nil || err.Error() != want {
		t.Errorf("error is %v", err)
	}
	sealed, err := f.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := sealed.Has(""); err == nil || err.Error() != want {
		t.Errorf("without keys, the error is %v", err)
	}
}
