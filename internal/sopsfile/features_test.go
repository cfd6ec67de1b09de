package sopsfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// rule is a configuration of sops with settings that have no flag.
func rule(t *testing.T, settings ...string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sops.yaml")
	text := "creation_rules:\n  - age: " + testkeys.Public(t, testkeys.Age) + "\n    " + strings.Join(settings, "\n    ") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", path}
}

func encryptFlags(t *testing.T, flags []string) []string {
	t.Helper()
	if len(flags) > 0 && flags[0] == "--config" {
		return flags
	}
	return append([]string{"--age", testkeys.Public(t, testkeys.Age)}, flags...)
}

// Everything that sops can do with a file is what sops prints of it.
func TestDecrypt_agreesWithSOPS(t *testing.T) {
	t.Parallel()
	const doc = "a: 1\nb_unencrypted: two\nsecret_c: three\nm:\n    # comment\n    d: 4.5\n    e_unencrypted:\n        - x # inline\n"
	for _, c := range []struct {
		name, format, text string
		flags              []string
	}{
		{"unencrypted suffix", "yaml", doc, []string{"--unencrypted-suffix", "_unencrypted"}},
		{"encrypted suffix", "yaml", doc, []string{"--encrypted-suffix", "c"}},
		{"encrypted regex", "yaml", doc, []string{"--encrypted-regex", "^(secret|d)"}},
		{"unencrypted regex", "yaml", doc, []string{"--unencrypted-regex", "^(m|a)$"}},
		{"nothing encrypted", "yaml", doc, []string{"--encrypted-regex", "^nothing$"}},
		{"encrypted comment regex", "yaml", "# enc:sops\na: 1\nb: 2\n# enc:sops\nc:\n  d: e\n", rule(t, "encrypted_comment_regex: enc:sops")},
		{"unencrypted comment regex", "yaml", "# plain:sops\na: 1\nb: 2\n", rule(t, "unencrypted_comment_regex: plain:sops")},
		{"MAC over encrypted values", "yaml", doc, rule(t, "mac_only_encrypted: true", "encrypted_regex: ^secret")},
		{"several documents", "yaml", "a: 1\n---\nb: 2\nc: [x, y]\n---\nd: e\n", nil},
		{"empty document", "yaml", "{}\n", nil},
		{"anchors", "yaml", "a: &x\n  b: c\nd: *x\n", nil},
		{"times", "yaml", "t: 2001-12-14t21:59:43.10-05:00\nd: 2002-12-14\n", nil},
		{"YAML with Windows line ends", "yaml", "a: b\r\nc: |\r\n  d\r\n  e\r\n", nil},
		{"numbers", "yaml", "a: 0x1F\nb: 0o17\nc: 1e3\nd: .inf\ne: -0.0\nf: 1_000\n", nil},
		{"numbers in JSON", "json", `{"a": 9007199254740993, "b": 1e3, "c": 1.0, "d": -0, "e": 123456789012345678901234567890}`, nil},
		{"empty JSON", "json", `{}`, nil},
		{"escapes in JSON", "json", `{"a\"b\\c": "\u0000\u2028<>&", "é": "\ud83d\ude00"}`, nil},
		{"JSON with Windows line ends", "json", "{\r\n\"a\": \"b\\r\\n\"\r\n}\r\n", nil},
		{"JSON with a name twice", "json", `{"a": "first", "a": "last"}`, nil},
		{"empty binary", "binary", "", nil},
		{"binary", "binary", "\x00\xff\xfe\r\n\x00", nil},
		{"binary of 10 MiB", "binary", strings.Repeat("0123456789abcde\n", 10<<20/16), nil},
		{"binary that is JSON", "binary", `{"data": "x", "sops": 1}`, nil},
		{"dotenv", "dotenv", "A=1\n#c\n\nB=\nC=a\\nb\nD= spaced \n", nil},
		{"dotenv with Windows line ends", "dotenv", "A=1\r\nB=2\r\n", nil},
		{"INI", "ini", "x = top\n[a]\nb = c\n; comment\nd = e # f\n[empty]\n[g.h]\ni = `j`\n", nil},
		{"INI with a section twice", "ini", "[a]\nb = c\n[a]\nb = d\n", nil},
		{"INI with Windows line ends", "ini", "[a]\r\nb = c\r\n", nil},
		{"INI without sections", "ini", "b = c\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := []string{"SOPS_AGE_KEY_FILE=" + testkeys.Path(t, testkeys.Age)}
			path := testkeys.Encrypt(t, c.format, c.text, encryptFlags(t, c.flags)...)
			want := testkeys.RunSOPS(t, env, nil, "decrypt", "--input-type", c.format, "--output-type", c.format, path)
			f := open(t, path, manifest.Format(c.format))
			got, err := decrypt(t, f, testkeys.Age).Value("")
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%.300q, %v; want %.300q", got, err, want)
			}
			if _, err := f.Seal(); err != nil {
				t.Errorf("without keys: %v", err)
			}
		})
	}
}

// Where a file holds values that are not reached by the first document, the first section, the
// first of a name.
func TestValue_whereThereAreSeveral(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, format, text, key, want string }{
		{"second document", "yaml", "a: 1\n---\nb: 2\n", "b", "2"},
		{"first document first", "yaml", "a: 1\n---\na: 2\n", "a", "1"},
		{"map of a document of several", "yaml", "a:\n    x: z\n---\nb: 2\n", "a", "x: z\n"},
		{"last of a name, as JSON readers have it", "json", `{"a": "first", "a": "last"}`, "a", "last"},
		{"short names before long ones, as the reference has it", "yaml", "a:\n    b: nested\na/b: flat\n", "a/b", "nested"},
		{"long names where short ones lead nowhere", "yaml", "a:\n    c: nested\na/b: flat\n", "a/b", "flat"},
		{"long names behind lists", "yaml", "a:\n  - b/c: {d/e: f}\n", "a/0/b/c/d/e", "f"},
		{"a string in the way", "yaml", "a: string\na/b: flat\n", "a/b", "flat"},
		{"comments are no elements", "yaml", "a:\n    # one\n    - x\n    # two\n    - y\n", "a/1", "y"},
		{"number of a YAML file turned into dotenv", "dotenv", "A=1\n", "A", "1"},
		{"last section of a name", "ini", "[a]\nb = c\n[a]\nb = d\n", "a/b", "d"},
		{"before the first section", "ini", "x = top\n[a]\nb = c\n", "DEFAULT/x", "top"},
		{"section with a slash", "ini", "[a/b]\nc = d\n", "a/b/c", "d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := testkeys.Encrypt(t, c.format, c.text, "--age", testkeys.Public(t, testkeys.Age))
			f := open(t, path, manifest.Format(c.format))
			got, err := decrypt(t, f, testkeys.Age).Value(c.key)
			if err != nil || string(got) != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// A number stays one in a file that sops turned from YAML into a format that has only strings.
func TestValue_numbersInFlatFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, text, key, want string }{
		{"dotenv", "a: 1\nb: 2.5\nc: true\n", "b", "2.5"},
		{"dotenv", "a: 1\nb: 2.5\nc: true\n", "c", "true"},
		{"ini", "s:\n  a: 1\n  b: true\n", "s/a", "1"},
	} {
		t.Run(c.format+" "+c.key, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			data := testkeys.RunSOPS(t, nil, []byte(c.text), "encrypt", "--age", testkeys.Public(t, testkeys.Age), "--input-type", "yaml", "--output-type", c.format, "/dev/stdin")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := decrypt(t, open(t, path, manifest.Format(c.format)), testkeys.Age).Value(c.key)
			if err != nil || string(got) != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// Shamir's sharing: as many key groups as the threshold says are needed, no matter which.
func TestDecrypt_keyGroups(t *testing.T) {
	t.Parallel()
	const path = "testdata/corpus/v3.13.3/shamir.yaml"
	for _, c := range []struct {
		keys []string
		want string // of the error
	}{
		{[]string{testkeys.SSHRSA2048, testkeys.SSHRSA4096}, ""},
		{[]string{testkeys.SSHRSA4096, testkeys.SSHRSA2048}, ""},
		{[]string{testkeys.SSHRSA2048}, "keys of 2 key groups are needed and only 1 fit (encrypted for PGP 759DB3A3ECCF53A548DE37CDE66A18AC00D6A047, PGP BCEC1216F0A18664A7B288CD1050F7A7FB338ECA, PGP ACB4928090543B8B34568E92C4BFF35F5197F52B)"},
		{[]string{testkeys.SSHRSAPEM}, "keys of 2 key groups are needed and only 0 fit"},
	} {
		t.Run(fmt.Sprint(c.keys), func(t *testing.T) {
			t.Parallel()
			f := open(t, path, manifest.YAML)
			_, attempts, err := f.Decrypt(context.Background(), ringOf(t, c.keys...))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if len(attempts) != 4 || attempts[0].Group != 0 || attempts[3].Group != 2 {
				t.Errorf("attempts: %v", attempts)
			}
		})
	}
}
