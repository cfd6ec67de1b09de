package sopsfile

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// formatOf is the format of a file of the corpus.
func formatOf(path string) manifest.Format {
	return map[string]manifest.Format{
		".yaml": manifest.YAML, ".json": manifest.JSON, ".env": manifest.Dotenv, ".ini": manifest.INI, ".bin": manifest.Binary,
	}[filepath.Ext(strings.TrimSuffix(path, ".expected"))]
}

// ringOf is a ring of test keys.
func ringOf(t testing.TB, names ...string) *keyring.Ring {
	t.Helper()
	var keys manifest.KeySources
	for _, name := range names {
		path := testkeys.Path(t, name)
		if strings.HasPrefix(name, "ssh_") {
			keys.SSHKeyPaths = append(keys.SSHKeyPaths, path)
		} else {
			keys.AgeKeyFile = path
		}
	}
	ring := keyring.Open(keyring.Config{Keys: keys})
	t.Cleanup(func() {
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	})
	if skipped := ring.Skipped(); len(skipped) > 0 {
		t.Fatalf("skipped: %v", skipped)
	}
	return ring
}

func open(t testing.TB, path string, format manifest.Format) *File {
	t.Helper()
	f, err := Open(path, format)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func decrypt(t testing.TB, f *File, keys ...string) *Plain {
	t.Helper()
	plain, _, err := f.Decrypt(context.Background(), ringOf(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func corpus(t *testing.T) []string {
	t.Helper()
	expected, err := filepath.Glob("testdata/corpus/v*/*.expected")
	if err != nil || len(expected) < 36 {
		t.Fatalf("%d files, %v", len(expected), err)
	}
	return expected
}

// Files of all formats that sops wrote from 2019 on are what its newest version prints, byte for
// byte.
func TestDecrypt_filesOfManyVersions(t *testing.T) {
	t.Parallel()
	for _, expected := range corpus(t) {
		path := strings.TrimSuffix(expected, ".expected")
		t.Run(strings.TrimPrefix(path, "testdata/corpus/"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if math.MaxInt == math.MaxInt32 { // a number that is no int there is printed as a text
				want = bytes.Replace(want, []byte("big: 12345678901234\n"), []byte("big: \"12345678901234\"\n"), 1)
			}
			keySets := [][]string{{testkeys.SSHRSA2048}}
			switch version := strings.Split(path, "/")[2]; {
			case strings.Contains(path, "shamir"):
				keySets = [][]string{{testkeys.SSHRSA2048, testkeys.SSHRSA4096}}
			case version == "v3.7.3" || version == "v3.8.1" || version == "v3.13.3":
				keySets = append(keySets, []string{testkeys.SSHEd25519})
			}
			for _, keys := range keySets {
				got, err := decrypt(t, open(t, path, formatOf(path)), keys...).Value("")
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("with %v: %q, %v; want %q", keys, got, err, want)
				}
			}
			if _, err := open(t, path, formatOf(path)).Seal(); err != nil {
				t.Errorf("without keys: %v", err)
			}
		})
	}
}

// What the corpus expects is what the sops of go.mod prints today.
func TestCorpus_agreesWithSOPS(t *testing.T) {
	t.Parallel()
	env := []string{"GNUPGHOME=" + testkeys.GPGHome(t, testkeys.GPGRSA, testkeys.GPGEd25519)}
	for _, expected := range corpus(t) {
		want, err := os.ReadFile(expected)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Abs(strings.TrimSuffix(expected, ".expected"))
		if err != nil {
			t.Fatal(err)
		}
		format := string(formatOf(path))
		if got := testkeys.RunSOPS(t, env, nil, "decrypt", "--input-type", format, "--output-type", format, path); !bytes.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, key, want string }{
		{"secrets.yaml", "password", "correct horse battery staple"},
		{"secrets.yaml", "empty", ""},
		{"secrets.yaml", "unicode", "pässwörd ☃"},
		{"secrets.yaml", "multi", "first line\nsecond line\n"},
		{"secrets.yaml", "number", "42"},
		{"secrets.yaml", "negative", "-7"},
		{"secrets.yaml", "float", "3.25"},
		{"secrets.yaml", "big", "12345678901234"},
		{"secrets.yaml", "yes", "true"},
		{"secrets.yaml", "no", "false"},
		{"secrets.yaml", "looks_like_number", "0123"},
		{"secrets.yaml", "looks_like_bool", "true"},
		{"secrets.yaml", "list/0", "one"},
		{"secrets.yaml", "list/1", "2"},
		{"secrets.yaml", "list/2/three", "3"},
		{"secrets.yaml", "list/2", "three: 3\nfour: \"4\"\n"},
		{"secrets.yaml", "list/3/1", "list"},
		{"secrets.yaml", "list/3", "- nested\n- list\n"},
		{"secrets.yaml", "empty_list", "[]\n"},
		{"secrets.yaml", "empty_map", "{}\n"},
		{"secrets.yaml", "map/inner/key", "value"},
		{"secrets.yaml", "map/inner", "key: value\n"},
		{"secrets.yaml", "map/with/slash", "slashed"},
		{"secrets.yaml", "map/with.dot", "dotted"},
		{"secrets.yaml", "map/", "empty key"},
		{"secrets.yaml", "public_unencrypted", "everyone may read this"},
		{"secrets.json", "password", "correct horse"},
		{"secrets.json", "number", "42"},
		{"secrets.json", "float", "1.5"},
		{"secrets.json", "yes", "true"},
		{"secrets.json", "list/2/b", "c"},
		{"secrets.json", "map/inner/key", "value"},
		{"secrets.json", "map/inner", "{\n\t\"key\": \"value\"\n}\n"},
		{"secrets.json", "map/with/slash", "slashed"},
		{"secrets.json", "multi", "a\nb\n"},
		{"secrets.env", "PASSWORD", "correct horse"},
		{"secrets.env", "EMPTY", ""},
		{"secrets.env", "MULTI", "a\nb"},
		{"secrets.env", "QUOTED", `"as it is"`},
		{"secrets.env", "EQ", "a=b=c"},
		{"secrets.ini", "database/password", "correct horse"},
		{"secrets.ini", "database/port", "5432"},
		{"secrets.ini", "other", "[other]\n; about the key\nkey = value\n"},
	} {
		t.Run(c.file+" "+c.key, func(t *testing.T) {
			t.Parallel()
			f := open(t, "testdata/corpus/v3.13.3/"+c.file, formatOf(c.file))
			got, err := decrypt(t, f, testkeys.SSHEd25519).Value(c.key)
			if err != nil || string(got) != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestValue_faults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, key, want string }{
		{"secrets.yaml", "nowhere", `key "nowhere": there is no "nowhere" (it has: no, nothing, number, negative, password, empty, unicode, multi, 11 more)`},
		{"secrets.yaml", "password/x", `key "password/x": "password" is a string, not a map`},
		{"secrets.yaml", "number/x", `key "number/x": "number" is a number, not a map`},
		{"secrets.yaml", "yes/x", `key "yes/x": "yes" is a boolean, not a map`},
		{"secrets.yaml", "nothing/x", `key "nothing/x": "nothing" is null, not a map`},
		{"secrets.yaml", "map/inner/none", `key "map/inner/none": there is no "map/inner/none" (it has: key)`},
		{"secrets.yaml", "map/with", `key "map/with": there is no "map/with" (it has: with/slash, with.dot, inner)`},
		{"secrets.yaml", "list/9", `key "list/9": "list" is a list of 4, counted from 0`},
		{"secrets.yaml", "list/x", `key "list/x": "list" is a list, whose elements are chosen by number, not by "x"`},
		{"secrets.yaml", "list/-1", `key "list/-1": "list" is a list, whose elements are chosen by number, not by "-1"`},
		{"secrets.yaml", "list/01", `key "list/01": "list" is a list, whose elements are chosen by number, not by "01"`},
		{"secrets.yaml", "sops", `key "sops": there is no "sops" (it has: password, empty, unicode, multi, folded, number, negative, float, 11 more)`},
		{"secrets.yaml", "/password", `key "/password": there is no "" (it has: password, empty, unicode, multi, folded, number, negative, float, 11 more)`},
		{"secrets.env", "password", `key "password": there is no "password" (it has: PASSWORD, EMPTY, MULTI, QUOTED, EQ)`},
		{"secrets.env", "sops_mac", `key "sops_mac": there is no "sops_mac" (it has: PASSWORD, EMPTY, MULTI, QUOTED, EQ)`},
		{"secrets.ini", "password", `key "password": there is no "password" (it has: DEFAULT, database, other)`},
		{"secrets.ini", "database/password/x", `key "database/password/x": "database/password" is a string, not a map`},
	} {
		t.Run(c.file+" "+c.key, func(t *testing.T) {
			t.Parallel()
			f := open(t, "testdata/corpus/v3.13.3/"+c.file, formatOf(c.file))
			if _, err := decrypt(t, f, testkeys.SSHEd25519).Value(c.key); err == nil || err.Error() != c.want {
				t.Errorf("error is %v, want %s", err, c.want)
			}
			sealed, err := f.Seal()
			if err != nil {
				t.Fatal(err)
			}
			// An encrypted number is a string of bytes to one who has no key.
			if err := sealed.Has(c.key); err == nil {
				t.Error("there is such a key to those without keys")
			}
		})
	}
}
