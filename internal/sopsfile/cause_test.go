package sopsfile

import (
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// The cause of a fault is named with its line, key or field, in every format; no value is.
func TestParse_causes(t *testing.T) {
	t.Parallel()
	yaml := read(t, "testdata/corpus/v3.13.3/secrets.yaml")
	json := read(t, "testdata/corpus/v3.13.3/secrets.json")
	env := read(t, "testdata/corpus/v3.13.3/secrets.env")
	ini := read(t, "testdata/corpus/v3.13.3/secrets.ini")
	cut := func(text, before string) string { return text[:strings.Index(text, before)] }
	without := func(text, name string) string { return strings.Replace(text, line(t, text, name), "", 1) }
	changed := func(text, name, to string) string { return strings.Replace(text, line(t, text, name), to+"\n", 1) }
	const (
		cutOff = "there are no sops metadata in it, but encrypted values: it was cut off, or changed without sops"
		noMAC  = "the sops metadata have no message authentication code (mac): it was cut off, or changed without sops"
		noTime = "the sops metadata are malformed: a time in them, lastmodified or created_at, is missing"
		isTime = " is not a time as sops writes it (2006-01-02T15:04:05Z)"
	)
	for _, c := range []struct {
		name   string
		format manifest.Format
		text   string
		want   string
	}{
		{"YAML, key twice", manifest.YAML, "x: POISON\nmap2:\n  a: 1\n  b: 2\n  a: 3\n" + yaml, `the key "a" stands twice, in lines 3 and 5`},
		{"YAML, merge conflict", manifest.YAML, "a: 1\n<<<<<<< HEAD\n" + yaml, "line 2: a merge conflict that was not resolved"},
		{"YAML, tab", manifest.YAML, "x:\n\ty: 1\n" + yaml, "not YAML: line 2: found character that cannot start any token"},
		{"YAML, metadata cut off", manifest.YAML, cut(yaml, "\nsops:"), cutOff},
		{"YAML, cut in the metadata", manifest.YAML, cut(yaml, "    mac:"), noMAC},
		{"YAML, no code", manifest.YAML, without(yaml, "    mac:"), noMAC},
		{"YAML, empty code", manifest.YAML, changed(yaml, "    mac:", "    mac: ''"), noMAC},
		{"YAML, no time", manifest.YAML, without(yaml, "    lastmodified:"), noTime},
		{"YAML, no time in it", manifest.YAML, changed(yaml, "    lastmodified:", "    lastmodified: POISON"), "the sops metadata are malformed: sops.lastmodified" + isTime},
		{"YAML, a list for a text", manifest.YAML, changed(yaml, "    version:", "    version: [POISON]"), "the sops metadata are malformed: version has another type than sops gives it"},
		{"JSON, cut off", manifest.JSON, cut(json, `"sops"`), "not JSON: it ends too early (was it cut off?)"},
		{"JSON, cut in a text", manifest.JSON, json[:len(json)/2], "not JSON: it ends too early (was it cut off?)"},
		{"JSON, a comma too much", manifest.JSON, strings.Replace(json, "{\n", "{\n,", 1), "not JSON: line 2 cannot be read"},
		{"JSON, no code", manifest.JSON, strings.Replace(json, `"mac"`, `"POISON"`, 1), noMAC},
		{"dotenv, CR LF", manifest.Dotenv, strings.ReplaceAll(env, "\n", "\r\n"), "its lines end with CR LF, which sops does not read (dos2unix mends that)"},
		{"dotenv, no assignment", manifest.Dotenv, "A=1\n\nPOISON\n" + env, "not dotenv: line 3 has no ="},
		{"dotenv, no code", manifest.Dotenv, without(env, "sops_mac="), noMAC},
		{"dotenv, no time in it", manifest.Dotenv, changed(env, "sops_lastmodified=", "sops_lastmodified=POISON"), "the sops metadata are malformed: sops_lastmodified" + isTime},
		{"INI, no value", manifest.INI, "[a]\nPOISON\n" + ini, "not INI: line 2 is neither a section nor a value"},
		{"INI, section not closed", manifest.INI, "[POISON\n" + ini, "not INI: line 1 is neither a section nor a value"},
		{"INI, metadata cut off", manifest.INI, cut(ini, "[sops]"), cutOff},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(c.text), c.format)
			if err == nil || err.Error() != c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// Times and numbers without quotes in the metadata are read as older sops reads them.
func TestParse_unquotedMetadata(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: value\nb: 2026-01-01\n", "--age", testkeys.Public(t, testkeys.Age))
	text := read(t, path)
	pgp := "    pgp:\n        - created_at: 2026-01-01T00:00:00Z # when\n          enc: x\n          fp: 0123456789012345678901234567890123456789\n"
	kms := "    kms:\n        - {arn: x, created_at: 2026-01-01T00:00:00+01:00, enc: x, context: {number: 7, time: 2026-01-01}}\n"
	for name, changed := range map[string]string{
		"as it is":     text,
		"lastmodified": strings.ReplaceAll(text, `"`, ""),
		"OpenPGP":      strings.Replace(text, "    version:", pgp+"    version:", 1),
		"KMS":          strings.Replace(text, "    version:", kms+"    version:", 1),
		"all":          "# a comment\n" + strings.ReplaceAll(strings.Replace(text, "    version:", pgp+kms+"    version:", 1), `"`, ""),
		"version":      strings.Replace(text, line(t, text, "    version:"), "    version: 3.9\n", 1),
	} {
		f, err := Parse("f", []byte(changed), manifest.YAML)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, r := range f.Recipients() {
			if r.Type == "pgp" && r.ID != "0123456789012345678901234567890123456789" {
				t.Errorf("%s: fingerprint %s", name, r.ID)
			}
		}
		if value, err := decrypt(t, f, testkeys.Age).Value("a"); err != nil || string(value) != "value" {
			t.Errorf("%s: %q, %v", name, value, err)
		}
	}
}

// A key without a value is an error, with keys and without; what is empty on purpose is not.
func TestValue_null(t *testing.T) {
	t.Parallel()
	for format, text := range map[manifest.Format]string{
		manifest.YAML: "empty:\nnone: ~\nmap: {a: null, b: ''}\nlist: [null]\ntext: ''\n",
		manifest.JSON: `{"empty": null, "none": null, "map": {"a": null, "b": ""}, "list": [null], "text": ""}`,
	} {
		f := open(t, testkeys.Encrypt(t, string(format), text, "--age", testkeys.Public(t, testkeys.Age)), format)
		plain := decrypt(t, f, testkeys.Age)
		sealed, err := f.Seal()
		if err != nil {
			t.Fatal(err)
		}
		for key, bad := range map[string]bool{"empty": true, "map/a": true, "list/0": true, "map/b": false, "text": false, "map": false, "": false} {
			_, err := plain.Value(key)
			for _, err := range []error{err, sealed.Has(key)} {
				if bad != (err != nil) || bad && err.Error() != `key "`+key+`" has no value (null)` {
					t.Errorf("%s, key %q: %v", format, key, err)
				}
			}
		}
	}
}

// No name of a recipient is longer than a line.
func TestRecipient_Name(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("q", 1900)
	for _, c := range []struct {
		recipient Recipient
		want      string
	}{
		{Recipient{Type: "age", ID: "age1abc"}, "age1abc"},
		{Recipient{Type: "age", ID: "age1pq1" + long + "zz"}, "age1pq1qqqqqqqqqqqqqqqqq…qqqqqqqqqqzz (post-quantum)"},
		{Recipient{Type: "age", ID: "ssh-rsa AAAA" + long + "zz"}, "ssh-rsa AAAAqqqqqqqqqqqq…qqqqqqqqqqzz"},
		{Recipient{Type: "pgp", ID: "ABCD"}, "PGP ABCD"},
		{Recipient{Type: "kms", ID: "arn:x"}, "kms arn:x"},
		{Recipient{Type: "kms", ID: "arn:x|" + long}, "kms arn:x|qqqqqqqqqqqqqqqqqq…qqqqqqqqqqqq"},
	} {
		if got := c.recipient.Name(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// What is no text was perhaps written in another way, which shows without a key.
func TestSealed_Warning(t *testing.T) {
	t.Parallel()
	text := "pin: 012345\nexponent: 1e5\nhex: 0x1F\nversion: 1.10\nswitch: True\nday: 2026-01-01\nplain_unencrypted: 012\n" +
		"text: '012345'\nempty: ''\nmap: {a: 1}\nblock: |\n  1\n"
	f := open(t, testkeys.Encrypt(t, "yaml", text, "--age", testkeys.Public(t, testkeys.Age)), manifest.YAML)
	sealed, err := f.Seal()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"pin": "a number", "exponent": "a number", "hex": "a number", "version": "a number", "switch": "a boolean", "day": "a time",
		"plain_unencrypted": "a number", "map/a": "a number", "text": "", "empty": "", "map": "", "block": "", "": "", "none": "",
	} {
		got := sealed.Warning(key)
		if want == "" && got != "" || want != "" && !strings.HasPrefix(got, `key "`+key+`" is `+want+", no text: ") {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
