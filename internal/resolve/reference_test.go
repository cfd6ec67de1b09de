package resolve_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// The faults that were found in Mic92/sops-nix 56b2406, as far as they concern keys and
// decryption, each by its behaviour.

func run(t *testing.T, req resolve.Request) *resolve.Result {
	t.Helper()
	return resolve.Run(context.Background(), req)
}

func one(t *testing.T, r *resolve.Result) string {
	t.Helper()
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return string(r.Secrets["s"].Data)
}

// There, a key that cannot be imported is forgotten, and its clean-up crashes.
func TestReference_keyThatCannotBeImported(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: b", "--age", testkeys.Public(t, testkeys.Age))
	req := resolve.Request{
		Keys: manifest.KeySources{SSHKeyPaths: []string{
			write(t, "no key"), "/no/such/key",
			t.TempDir(),
		}},
		Secrets: []manifest.Source{{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "a"}},
	}
	printed := report(run(t, req).Err())
	for _, want := range []string{
		"p: error: decrypt " + path, "p: hint: " + req.Keys.SSHKeyPaths[0] +
			": skipped: not an SSH private key",
		"p: hint: /no/such/key: skipped: does not exist", "p: hint: " + req.Keys.SSHKeyPaths[2] +
			": skipped: is a directory, not a file",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q is not in\n%s", want, printed)
		}
	}
	req.Keys.AgeKeyFile = testkeys.Path(t, testkeys.Age)
	if got := one(t, run(t, req)); got != "b" {
		t.Errorf("with a key that fits: %q", got)
	}
}

// There, an age key file that does not exist ends everything, whatever other keys there are.
func TestReference_keyFileThatIsMissing(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: b", "--age", testkeys.Public(t, testkeys.SSHEd25519))
	if got := one(t, run(t, resolve.Request{
		Keys: manifest.KeySources{
			AgeKeyFile:     "/no/such/key",
			AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHEd25519)},
		},
		Secrets: []manifest.Source{{Name: "s", SopsFile: path, Format: manifest.YAML, Key: "a"}},
	})); got != "b" {
		t.Errorf("%q", got)
	}
}

// There, nested keys of JSON files are not found, a name that is no string is a crash, and
// messages name another key.
func TestReference_nestedKeys(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "json", `{"a": {"b": {"c": "nested"}}, "n": {"m": 1}}`, "--age",
		testkeys.Public(t, testkeys.Age))
	req := resolve.Request{
		Keys:    manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)},
		Secrets: []manifest.Source{{Name: "s", SopsFile: path, Format: manifest.JSON, Key: "a/b/c"}},
	}
	if got := one(t, run(t, req)); got != "nested" {
		t.Errorf("%q", got)
	}
	req.Secrets[0].Key = "n/m/x"
	want := `secret "s": ` + path + `: key "n/m/x": "n/m" is a number, not a map`
	if err := run(t, req).Err(); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	// Names of numbers and booleans were possible in old versions of sops; in its files of today
	// there are none.
	text := strings.Replace(read(t, testkeys.Encrypt(t, "yaml", "a: b\n", "--age", testkeys.Public(t,
		testkeys.Age))), "a: ENC", "1: ENC", 1)
	req.Secrets[0] = manifest.Source{
		Name: "s", SopsFile: write(t, text), Format: manifest.YAML,
		Key: "1",
	}
	if err := run(t, req).Err(); err == nil {
		t.Error("a name that is a number is taken")
	}
}

// There, the order in which placeholders are replaced is random, and what a secret says is
// replaced again.
func TestReference_placeholdersInSecrets(t *testing.T) {
	t.Parallel()
	path := testkeys.Encrypt(t, "yaml", "a: '@b@'\nb: '@c@'\nc: '@a@'\n", "--age", testkeys.Public(t,
		testkeys.Age))
	req := resolve.Request{
		Keys:         manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)},
		Templates:    []manifest.Text{{Name: "t", Content: "@a@ @b@ @c@ @d@"}},
		Placeholders: map[string]string{"a": "@a@", "b": "@b@", "c": "@c@"},
	}
	for _, key := range []string{"a", "b", "c"} {
		req.Secrets = append(req.Secrets, manifest.Source{
			Name: key, SopsFile: path,
			Format: manifest.YAML, Key: key,
		})
	}
	for range 20 {
		if got := string(run(t, req).Templates["t"].Data); got != "@b@ @c@ @a@ @d@" {
			t.Fatalf("%q", got)
		}
	}
}

// There, the content of a template comes before its file; a manifest that has both must go on
// to mean that.
func TestReference_templateWithContentAndFile(t *testing.T) {
	t.Parallel()
	req := resolve.Request{Templates: []manifest.Text{
		{Name: "both", Content: "content", File: write(t, "file")}, {Name: "file", File: write(t,
			"file")}, {Name: "none"}, {Name: "missing", File: "/no/such/file"},
	}}
	result := run(t, req)
	for name, want := range map[string]string{"both": "content", "file": "file", "none": ""} {
		if got := result.Templates[name]; string(got.Data) != want || got.Err != nil {
			t.Errorf("%s: %q, %v", name, got.Data, got.Err)
		}
	}
	const want = `template "missing": read /no/such/file: no such file or directory`
	if err := result.Err(); err == nil || err.Error() != want {
		t.Errorf("error is %v", err)
	}
}

// There, key sources reach sops through the environment of the process, and keys are written to
// files that stay.
func TestReference_environmentAndFiles(t *testing.T) {
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	t.Setenv("HOME", scratch)
	t.Setenv("XDG_RUNTIME_DIR", scratch)
	keys := filepath.Join(scratch, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	var sources manifest.KeySources
	for _, name := range []string{testkeys.SSHRSA2048, testkeys.SSHEd25519} {
		path := filepath.Join(keys, name)
		if err := os.WriteFile(path, testkeys.Data(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
		sources.SSHKeyPaths = append(sources.SSHKeyPaths, path)
		sources.AgeSSHKeyPaths = append(sources.AgeSSHKeyPaths, path)
	}
	corpus, err := filepath.Abs("../sopsfile/testdata/corpus/v3.8.1/secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Join(os.Environ(), "\n")
	if got := one(t, run(t, resolve.Request{
		Keys: sources, Getenv: os.Getenv,
		Secrets: []manifest.Source{{Name: "s", SopsFile: corpus, Format: manifest.YAML, Key: "password"}},
	})); got != "correct horse battery staple" {
		t.Errorf("%q", got)
	}
	if after := strings.Join(os.Environ(), "\n"); after != before {
		t.Errorf("the environment was\n%s\nand is\n%s", before, after)
	}
	var files []string
	if err := filepath.WalkDir(scratch, func(path string, _ os.DirEntry, err error) error {
		files = append(files, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 { // the two directories, the two keys
		t.Errorf("files: %v", files)
	}
}

// There, what is below the home directory of root is read, and is what a host depends on
// without knowing.
func TestReference_keysBelowHome(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".config/sops/age/keys.txt")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, testkeys.Data(t, testkeys.Age), 0o600); err != nil {
		t.Fatal(err)
	}
	file := testkeys.Encrypt(t, "yaml", "a: b", "--age", testkeys.Public(t, testkeys.Age))
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	req := resolve.Request{Getenv: os.Getenv, Secrets: []manifest.Source{{
		Name: "s", SopsFile: file,
		Format: manifest.YAML, Key: "a",
	}}}
	if err := run(t, req).Err(); err == nil || !strings.Contains(report(err),
		"p: hint: no key source is configured\n") {
		t.Errorf("in system mode: %v", report(err))
	}
	req.UserMode = true
	if got := one(t, run(t, req)); got != "b" {
		t.Errorf("in user mode: %q", got)
	}
}
