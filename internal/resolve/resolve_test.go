package resolve_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

const yamlText = `# head
plain: value
multi: |
    line 1
    line 2
n: 42
f: 1.5
yes: true
none: null
empty: ""
list:
    - a # inline
    - b
    - c: d
map:
    deep:
        er: x
    a/b: slashed
`

func TestRun_everyFormat(t *testing.T) {
	t.Parallel()
	recipient := testkeys.Public(t, testkeys.Age)
	env := []string{"SOPS_AGE_KEY_FILE=" + testkeys.Path(t, testkeys.Age)}
	for _, c := range []struct {
		format manifest.Format
		text   string
		keys   map[string]string // key: what sops extract takes for it
	}{
		{manifest.YAML, yamlText, map[string]string{
			"plain": `["plain"]`, "multi": `["multi"]`, "n": `["n"]`, "f": `["f"]`, "yes": `["yes"]`,
			"empty": `["empty"]`, "list": `["list"]`, "list/1": `["list"][2]`, "map": `["map"]`, "map/deep/er": `["map"]["deep"]["er"]`,
			"map/a/b": `["map"]["a/b"]`, "list/2/c": `["list"][3]["c"]`,
		}},
		{
			manifest.JSON,
			`{"a": "x", "n": 9007199254740993, "t": true, "z": null, "l": [1, "b", {"c": "d"}], "m": {"k": "v"}}`,
			map[string]string{
				"a": `["a"]`, "n": `["n"]`, "t": `["t"]`, "l": `["l"]`, "l/2/c": `["l"][2]["c"]`, "m": `["m"]`, "m/k": `["m"]["k"]`,
			},
		},
		{manifest.Dotenv, "A=b\n# comment\nC=d e=f\nM=two\\nlines\n", map[string]string{
			"A": `["A"]`,
			"C": `["C"]`, "M": `["M"]`,
		}},
		{manifest.INI, "top = 1\n\n[s]\na = b\n\n[t]\nc = d\n", map[string]string{
			"s/a": `["s"]["a"]`,
			"t/c": `["t"]["c"]`, "DEFAULT/top": `["DEFAULT"]["top"]`,
		}},
		{manifest.Binary, "\x01binary\n\xff", nil},
	} {
		t.Run(string(c.format), func(t *testing.T) {
			t.Parallel()
			path := testkeys.Encrypt(t, string(c.format), c.text, "--age", recipient)
			req := resolve.Request{Keys: manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)}}
			sops := func(extra ...string) []byte {
				return testkeys.RunSOPS(t, env, nil, append(append([]string{
					"decrypt", "--input-type",
					string(c.format), "--output-type", string(c.format),
				}, extra...), path)...)
			}
			want := map[string][]byte{"": sops()}
			for key, extract := range c.keys {
				want[key] = sops("--extract", extract)
				if !bytes.Contains(want[key], []byte(":")) && key != "multi" && key != "list" && key != "m" {
					want[key] = bytes.TrimSuffix(want[key], []byte("\n"))
				}
			}
			for key := range want {
				req.Secrets = append(req.Secrets, manifest.Source{
					Name: "of " + key, SopsFile: path,
					Format: c.format, Key: key,
				})
			}
			result := resolve.Run(context.Background(), req)
			if err := result.Err(); err != nil {
				t.Fatal(err)
			}
			for key, w := range want {
				if got := result.Secrets["of "+key].Data; !bytes.Equal(got, w) {
					t.Errorf("key %q: %q, sops has %q", key, got, w)
				}
			}
			if err := resolve.Check(req, resolve.CheckSopsFile); err != nil {
				t.Errorf("check: %v", err)
			}
			var a, b bytes.Buffer
			if err := resolve.Inputs(req, &a); err != nil {
				t.Error(err)
			}
			testkeys.RunSOPS(t, env, nil, "rotate", "--input-type", string(c.format), "--output-type",
				string(c.format), "-i", path)
			if err := resolve.Inputs(req, &b); err != nil {
				t.Error(err)
			}
			if a.Len() == 0 || bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Errorf("the inputs are the same with all values encrypted anew")
			}
		})
	}
}

func TestRun_sshKeys(t *testing.T) {
	t.Parallel()
	public := testkeys.Public(t, testkeys.SSHEd25519)
	for _, c := range []struct{ name, key, flag, recipient string }{
		{"raw ed25519", testkeys.SSHEd25519, "--age", public},
		{"converted ed25519", testkeys.SSHEd25519, "--age", sshToAge(t, public)},
		{"raw RSA", testkeys.SSHRSA2048, "--age", testkeys.Public(t, testkeys.SSHRSA2048)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := testkeys.Encrypt(t, "yaml", "a: b", c.flag, c.recipient)
			result := resolve.Run(context.Background(), resolve.Request{
				Keys: manifest.KeySources{AgeSSHKeyPaths: []string{"/no/such/key", testkeys.Path(t,
					c.key)}},
				Secrets:      []manifest.Source{{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "a"}},
				Templates:    []manifest.Text{{Name: "t", Content: "<@s@>"}},
				Placeholders: map[string]string{"s": "@s@"},
			})
			if err := result.Err(); err != nil {
				t.Fatal(err)
			}
			if got := string(result.Secrets["s"].Data); got != "b" {
				t.Errorf("secret is %q", got)
			}
			if got := string(result.Templates["t"].Data); got != "<b>" {
				t.Errorf("template is %q", got)
			}
		})
	}
}

func TestRun_noKeyFits(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: b\nc: d", "--age", testkeys.Public(t, testkeys.Age))
	result := resolve.Run(context.Background(), resolve.Request{
		Keys: manifest.KeySources{AgeSSHKeyPaths: []string{"/no/such/key", testkeys.Path(t,
			testkeys.SSHEd25519)}},
		Secrets: []manifest.Source{
			{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "a"},
			{Name: "u", SopsFile: path, Format: manifest.YAML, Key: "c"},
		},
	})
	if err := result.Err(); err == nil || strings.Count(err.Error(), "\n") != 0 ||
		!strings.Contains(err.Error(),
			`secrets "s", "u": no key fits (encrypted for `+testkeys.Public(t, testkeys.Age)) {
		t.Errorf("error is %v", err)
	}
}
