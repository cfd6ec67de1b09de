package resolve_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// inputs are the inputs of a request.
func inputs(t *testing.T, req resolve.Request) string {
	t.Helper()
	var b bytes.Buffer
	if err := resolve.Inputs(req, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The inputs change when, and only when, something changes that a value is made of.
func TestInputs(t *testing.T) {
	t.Parallel()
	own, other := testkeys.Public(t, testkeys.Age), testkeys.Public(t, testkeys.AgeOther)
	env := []string{"SOPS_AGE_KEY_FILE=" + testkeys.Path(t, testkeys.Age)}
	path := testkeys.Encrypt(t, "yaml", "# head\na: secret # inline\nm:\n    # inner\n    x: y\n "+
		"   z_unencrypted: plain\nother: value\n", "--age", own)
	original := read(t, path)
	base := func(key string) resolve.Request {
		return resolve.Request{
			Secrets: []manifest.Source{
				{Name: "s", SopsFile: path, Format: manifest.YAML, Key: key},
				{Name: "u", SopsFile: path, Format: manifest.YAML, Key: "other"},
			},
			Templates: []manifest.Text{{Name: "t", Content: "text <s>"}, {
				Name:    "v",
				Content: "no placeholder",
			}},
			Placeholders: map[string]string{"s": "<s>", "u": "<u>"},
		}
	}
	sops := func(args ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			testkeys.RunSOPS(t, env, nil, append(args[:1:1], append([]string{
				"--input-type", "yaml",
				"--output-type", "yaml",
			}, append(args[1:], path)...)...)...)
		}
	}
	set := func(key, value string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			testkeys.RunSOPS(t, env, nil, "set", "--input-type", "yaml", "--output-type", "yaml", path,
				key, value)
		}
	}
	edit := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			text := read(t, path)
			if strings.Count(text, old) != 1 {
				t.Fatalf("%q is there %d times", old, strings.Count(text, old))
			}
			if err := os.WriteFile(path, []byte(strings.Replace(text, old, new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	line := func(word string) string {
		for _, l := range strings.SplitAfter(original, "\n") {
			if strings.HasPrefix(strings.TrimSpace(l), word) {
				return l
			}
		}
		t.Fatalf("no line %q", word)
		return ""
	}
	config := filepath.Join(t.TempDir(), ".sops.yaml")
	if err := os.WriteFile(config, []byte("creation_rules:\n  - age: "+own+","+other+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	updatekeys := func(t *testing.T, path string) {
		t.Helper()
		testkeys.RunSOPS(t, env, nil, "--config", config, "updatekeys", "--yes", "--input-type", "yaml",
			path)
		if !strings.Contains(read(t, path), other) {
			t.Fatal("the recipient was not added")
		}
	}
	for _, c := range []struct {
		name, key string
		change    func(t *testing.T, path string)
		request   func(r *resolve.Request)
		same      bool
	}{
		{name: "nothing", key: "a", same: true},
		{name: "another recipient", key: "", change: updatekeys, same: true},
		{name: "another value, of one", key: "a", change: set(`["m"]["x"]`, `"new"`), same: true},
		{name: "another value, of a map", key: "m", change: set(`["a"]`, `"new"`), same: true},
		{name: "the value", key: "a", change: set(`["a"]`, `"new"`)},
		{name: "the value, to a number", key: "a", change: set(`["a"]`, `1`)},
		{name: "a value in the map", key: "m", change: set(`["m"]["x"]`, `"new"`)},
		{name: "a plain value in the map", key: "m", change: set(`["m"]["z_unencrypted"]`, `"new"`)},
		{name: "a value added to the map", key: "m", change: set(`["m"]["new"]`, `"new"`)},
		{name: "a value anywhere in the whole file", key: "", change: set(`["other"]`, `"new"`)},
		{name: "all values encrypted anew", key: "a", change: sops("rotate", "-i")},
		{name: "a comment elsewhere", key: "a", change: edit(line("#ENC"), ""), same: true},
		{name: "a comment elsewhere, of a map", key: "m", change: edit(line("#ENC"), ""), same: true},
		{name: "a comment of the whole file", key: "", change: edit(line("#ENC"), "")},
		{
			name: "the place of the file", key: "m",
			request: func(r *resolve.Request) { r.Secrets[0].SopsFile = write(t, original) }, same: true,
		},
		{
			name: "the name of the secret", key: "a",
			request: func(r *resolve.Request) { r.Secrets[1].Name = "w" },
		},
		{name: "the key", key: "a", request: func(r *resolve.Request) { r.Secrets[0].Key = "other" }},
		{name: "the order", key: "a", request: func(r *resolve.Request) {
			r.Secrets[0], r.Secrets[1] = r.Secrets[1], r.Secrets[0]
			r.Templates[0], r.Templates[1] = r.Templates[1], r.Templates[0]
		}, same: true},
		{
			name: "a template", key: "a",
			request: func(r *resolve.Request) { r.Templates[1].Content = "new" },
		},
		{
			name: "the name of a template", key: "a",
			request: func(r *resolve.Request) { r.Templates[1].Name = "new" },
		},
		{
			name: "a template from a file", key: "a",
			request: func(r *resolve.Request) {
				r.Templates[1] = manifest.Text{Name: "v", File: write(t,
					"no placeholder")}
			}, same: true,
		},
		{
			name: "a placeholder in use", key: "a",
			request: func(r *resolve.Request) {
				r.Placeholders = map[string]string{
					"u": "<s>",
					"s": "<x>",
				}
			},
		},
		{
			name: "a placeholder not in use", key: "a",
			request: func(r *resolve.Request) {
				r.Placeholders = map[string]string{
					"s": "<s>",
					"u": "<x>",
				}
			}, same: true,
		},
		{
			name: "the keys of this host", key: "a",
			request: func(r *resolve.Request) { r.Keys.AgeKeyFile = "/new" }, same: true,
		},
		{
			name: "a secret less", key: "a",
			request: func(r *resolve.Request) { r.Secrets = r.Secrets[:1] },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, after := base(c.key), base(c.key)
			if c.change != nil {
				changed := filepath.Join(t.TempDir(), "secrets.yaml")
				if err := os.WriteFile(changed, []byte(original), 0o600); err != nil {
					t.Fatal(err)
				}
				c.change(t, changed)
				for i := range after.Secrets {
					after.Secrets[i].SopsFile = changed
				}
				if c.key != "" { // the second secret is one of another value
					before.Secrets, after.Secrets = before.Secrets[:1], after.Secrets[:1]
				}
			}
			if c.request != nil {
				c.request(&after)
			}
			if got := inputs(t, before) == inputs(t, after); got != c.same {
				t.Errorf("the inputs are the same: %v, want %v", got, c.same)
			}
		})
	}
}

// What is in them is no secret, and they need all that is needed: faults are told as Check
// tells them.
func TestInputs_faults(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: POISON\n", "--age", testkeys.Public(t, testkeys.Age))
	req := resolve.Request{
		Secrets: []manifest.Source{
			{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "nowhere"},
			{Name: "u", SopsFile: "/no/such/file", Format: manifest.YAML, Key: "a"},
			{Name: "w", SopsFile: "/no/such/file", Format: manifest.YAML, Key: "a"},
			{Name: "x", SopsFile: path, Format: manifest.JSON, Key: "a"},
		},
		Templates: []manifest.Text{{Name: "t", File: "/no/such/template"}},
	}
	want := `secret "s": ` + path + `: key "nowhere": there is no "nowhere" (it has: a)
read /no/such/file for secrets "u", "w": no such file or directory
read ` + path + ` for secret "x": not JSON: line 1 cannot be read; its format is "yaml", not "json"
template "t": read /no/such/template: no such file or directory`
	if err := resolve.Inputs(req, new(bytes.Buffer)); err == nil || err.Error() != want {
		t.Errorf("inputs: %v", err)
	}
	if err := resolve.Check(req, resolve.CheckSopsFile); err == nil || err.Error() != want {
		t.Errorf("check: %v", err)
	}
	want = `template "t": read /no/such/template: no such file or directory`
	if err := resolve.Check(req, resolve.CheckManifest); err == nil || err.Error() != want {
		t.Errorf("check of the manifest: %v", err)
	}
	req = resolve.Request{Secrets: []manifest.Source{{
		Name: "s", SopsFile: path,
		Format: manifest.YAML, Key: "a",
	}}}
	if got := inputs(t, req); strings.Contains(got, "POISON") || !strings.Contains(got,
		"ENC[AES256_GCM,") {
		t.Errorf("inputs are %q", got)
	}
	if err := resolve.Inputs(req, failingWriter{}); !errors.Is(err, errFull) {
		t.Errorf("error is %v", err)
	}
}

var errFull = errors.New("full")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

// What two requests with the same Files are about does not change between them.
func TestFiles(t *testing.T) {
	t.Parallel()
	own := testkeys.Public(t, testkeys.Age)
	path := testkeys.Encrypt(t, "yaml", "a: before\n", "--age", own)
	req := resolve.Request{
		Keys:    manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)},
		Secrets: []manifest.Source{{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "a"}},
	}
	kept := req
	kept.Files = new(resolve.Files)
	before := inputs(t, kept)
	if err := os.Rename(testkeys.Encrypt(t, "yaml", "a: after\n", "--age", own), path); err != nil {
		t.Fatal(err)
	}
	if inputs(t, kept) != before || inputs(t, req) == before {
		t.Error("the inputs are not those of the content that was read first")
	}
	for want, req := range map[string]resolve.Request{"before": kept, "after": req} {
		result := resolve.Run(t.Context(), req)
		if got := string(result.Secrets["s"].Data); result.Err() != nil || got != want {
			t.Errorf("%q, %v, want %q", got, result.Err(), want)
		}
	}
}
