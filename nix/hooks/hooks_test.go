// Package hooks tests the shell hooks with the real bash, gpg and shellcheck.
package hooks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

const (
	script = "sops-keys.bash"
	rsa    = testkeys.GPGRSAFingerprint
	ed     = testkeys.GPGEd25519Fingerprint
)

// project is a directory with public keys in both encodings, and a gpg home of the user's own.
type project struct {
	dir, home string
}

func newProject(t *testing.T, name string) *project {
	t.Helper()
	scripttest.Need(t, "bash", "gpg", "find", "sort")
	p := &project{dir: filepath.Join(t.TempDir(), name)}
	p.home = filepath.Join(p.dir, "user home")
	for _, d := range []string{p.home, p.path(".git"), p.path("keys/hosts"), p.path("keys/users/deep er"), p.path("more keys")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, source := range map[string]string{
		"keys/hosts/rsa.asc": testkeys.GPGRSA, "keys/users/deep er/ed.gpg": testkeys.GPGEd25519, "more keys/rsa.asc": testkeys.GPGRSA,
	} {
		p.write(t, name, public(t, testkeys.Path(t, source), strings.HasSuffix(name, ".asc")))
	}
	p.write(t, "keys/README", []byte("no key"))
	return p
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(p.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// public is the public half of the OpenPGP key in a file.
func public(t *testing.T, path string, armor bool) []byte {
	t.Helper()
	home := t.TempDir()
	run := func(args ...string) []byte {
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, stderr.Bytes())
		}
		return out
	}
	defer stopAgent(home)
	run("--import", path)
	if armor {
		return run("--export", "--armor")
	}
	return run("--export")
}

func stopAgent(home string) { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() }

// bash runs lines in the project as nix-shell does: variables first, then the hook's source, then
// $shellHook.
func (p *project) bash(t *testing.T, hook, variables, after string) (stdout, stderr string) {
	t.Helper()
	source, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "hook.bash", []byte(strings.NewReplacer("@gpg@", "gpg", "@hook@", hook).Replace(string(source))))
	cmd := exec.Command("bash", "-c", variables+"\n. "+`"$hook"`+"\n"+`eval "$shellHook"`+"\n"+after)
	cmd.Dir = p.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "GNUPGHOME=" + p.home, "hook=" + p.path("hook.bash"), "LC_ALL=C",
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("bash: %v\n%s%s", err, out.Bytes(), errs.Bytes())
	}
	stopAgent(p.home)
	return out.String(), errs.String()
}

// keys lists the fingerprints of the primary keys in a keyring.
func keys(t *testing.T, home string) []string {
	t.Helper()
	out, err := exec.Command("gpg", "--homedir", home, "--batch", "--with-colons", "--list-keys").Output()
	if err != nil {
		t.Fatal(err)
	}
	stopAgent(home)
	var found []string
	primary := false
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, ":")
		if primary && f[0] == "fpr" {
			found = append(found, f[9])
		}
		primary = f[0] == "pub"
	}
	slices.Sort(found)
	return found
}

func sorted(s ...string) []string { slices.Sort(s); return s }

func TestShellcheck(t *testing.T) {
	t.Parallel()
	scripttest.Need(t, "shellcheck")
	if out, err := exec.Command("shellcheck", "--severity=style", script).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestImportKeys(t *testing.T) {
	t.Parallel()
	both := sorted(rsa, ed)
	for _, c := range []struct {
		name, project, variables string
		want                     []string
		stderr                   string // all of it
	}{
		{"nothing set", "p", "", nil, ""},
		{"directory", "p", `sopsPGPKeyDirs=./keys`, both, ""},
		{"file", "p", `sopsPGPKeys=keys/hosts/rsa.asc`, []string{rsa}, ""},
		{"several in a string", "p", `sopsPGPKeyDirs="./keys/hosts  keys/users"`, both, ""},
		{"array with blanks", "p", `sopsPGPKeyDirs=("more keys" keys/users)`, both, ""},
		{"array with one", "p", `sopsPGPKeys=("more keys/rsa.asc")`, []string{rsa}, ""},
		{"lines with blanks", "p", `sopsPGPKeys=$'more keys/rsa.asc\nkeys/users/deep er/ed.gpg\n'`, both, ""},
		{"blanks in a string", "my projects", `sopsPGPKeyDirs="$PWD/keys/hosts $PWD/keys/users"`, both, ""},
		{"hyphen", "p", `mkdir -- -delete; cp keys/hosts/rsa.asc ./-delete; sopsPGPKeyDirs=-delete`, []string{rsa}, ""},
		{"wildcards are names", "p", `sopsPGPKeys='keys/hosts/*.asc'`, nil, "sops: keys/hosts/*.asc does not exist\n"},
		{
			"missing ones are skipped", "p", `sopsPGPKeys="none.gpg keys/hosts/rsa.asc" sopsPGPKeyDirs="nowhere keys/users"`, both,
			"sops: directory nowhere does not exist\nsops: none.gpg does not exist\n",
		},
		{
			"damaged key", "p", `sopsPGPKeys="keys/README keys/hosts/rsa.asc"`,
			[]string{rsa},
			"gpg: no valid OpenPGP data found.\nsops: keys/README was not imported\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, c.project)
			stdout, stderr := p.bash(t, "sopsImportKeysHook", c.variables, `echo "FP=${SOPS_PGP_FP-unset} HOME=$GNUPGHOME"`)
			if want := "FP=unset HOME=" + p.home + "\n"; stdout != want {
				t.Errorf("printed %q, want %q", stdout, want)
			}
			if said := withoutGPGNotices(stderr); said != c.stderr {
				t.Errorf("standard error %q, want %q", said, c.stderr)
			}
			if got := keys(t, p.home); !slices.Equal(got, c.want) {
				t.Errorf("keyring has %q, want %q", got, c.want)
			}
		})
	}
}

// withoutGPGNotices removes what gpg says when it makes a keyring.
func withoutGPGNotices(stderr string) string {
	var kept strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "keybox") && !strings.Contains(line, "trustdb created") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestImportKeys_ownKeyring(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, variables, home string }{
		{"in the git directory", "sopsCreateGPGHome=1", ".git/gnupg"},
		{"of a project above", "mkdir -p a/b; cd a/b; sopsCreateGPGHome=1; sopsPGPKeys=../../$sopsPGPKeys", ".git/gnupg"},
		{
			"of a worktree, which may be removed",
			`mkdir -p .git/worktrees/w wt; echo ../.. >.git/worktrees/w/commondir; echo "gitdir: ../.git/worktrees/w" >wt/.git
sopsPGPKeys="$PWD/keys/hosts/rsa.asc"; cd wt; sopsCreateGPGHome=1`, ".git/gnupg",
		},
		{"of a submodule", `rmdir .git; mkdir "real git"; echo "gitdir: real git" >.git; sopsCreateGPGHome=1`, "real git/gnupg"},
		{"elsewhere", `sopsCreateGPGHome=1 sopsGPGHome="$PWD/some where/gnupg/"`, "some where/gnupg"},
		{"relative", `sopsCreateGPGHome=1 sopsGPGHome=ring`, "ring"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "my project")
			variables := "sopsPGPKeys=keys/hosts/rsa.asc\n" + c.variables
			stdout, _ := p.bash(t, "sopsImportKeysHook", variables, `gpgconf --kill all; env | grep ^GNUPGHOME=`)
			if want := "GNUPGHOME=" + p.path(c.home) + "\n"; stdout != want {
				t.Errorf("printed %q, want %q", stdout, want)
			}
			info, err := os.Stat(p.path(c.home))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o700 {
				t.Errorf("mode %v, want 0700", info.Mode())
			}
			if got := keys(t, p.path(c.home)); !slices.Equal(got, []string{rsa}) {
				t.Errorf("keyring has %q", got)
			}
			if got := keys(t, p.home); got != nil {
				t.Errorf("the user's keyring has %q", got)
			}
		})
	}
}

// Where the project's keyring cannot be had, keys must not end up in the user's.
func TestImportKeys_noKeyring(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, variables, stderr string }{
		{"no git directory", "rmdir .git; sopsCreateGPGHome=1", "sops: no git directory at or above "},
		{"not to be made", "touch file; sopsCreateGPGHome=1 sopsGPGHome=file/gnupg", "sops: no keyring at "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "p")
			_, stderr := p.bash(t, "sopsPGPHook", "sopsPGPKeys=keys/hosts/rsa.asc\n"+c.variables, "")
			if !strings.Contains(stderr, c.stderr) || !strings.Contains(stderr, "No key was imported.") {
				t.Errorf("standard error %q lacks %q", stderr, c.stderr)
			}
			if got := keys(t, p.home); got != nil {
				t.Errorf("the user's keyring has %q", got)
			}
		})
	}
}

func TestPGP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, variables, want string }{
		{"primary keys only, sorted by path", "sopsPGPKeyDirs=keys", rsa + "," + ed},
		{"files first, each once", `sopsPGPKeys="keys/users/deep er/ed.gpg" sopsPGPKeyDirs=("more keys" keys)`, ed + "," + rsa},
		{"kept", "export SOPS_PGP_FP=0123; sopsPGPKeyDirs=keys/users", "0123," + ed},
		{"two keys in a file", "cat keys/hosts/rsa.asc <(gpg --enarmor <keys/users/*/ed.gpg | sed 's/ARMORED FILE/PUBLIC KEY BLOCK/') >two.asc; sopsPGPKeys=two.asc", rsa + "," + ed},
		{"missing", "sopsPGPKeys='none.asc keys/hosts/rsa.asc'", rsa},
		{"none", "", "unset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "p")
			stdout, stderr := p.bash(t, "sopsPGPHook", c.variables, `bash -c 'echo ${SOPS_PGP_FP-unset}'`)
			if strings.TrimSpace(stdout) != c.want {
				t.Errorf("SOPS_PGP_FP is %q, want %q\n%s", stdout, c.want, stderr)
			}
		})
	}
}

// sops refuses to encrypt to an expired key: it would take all others down.
func TestPGP_expired(t *testing.T) {
	t.Parallel()
	p := newProject(t, "p")
	data, err := os.ReadFile("testdata/expired.asc")
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "keys/expired.asc", data)
	stdout, stderr := p.bash(t, "sopsPGPHook", "sopsPGPKeyDirs=keys", `echo $SOPS_PGP_FP`)
	if want := rsa + "," + ed + "\n"; stdout != want {
		t.Errorf("SOPS_PGP_FP is %q, want %q", stdout, want)
	}
	if !strings.Contains(stderr, "is expired or revoked, left out of SOPS_PGP_FP") {
		t.Errorf("standard error %q", stderr)
	}
}

// What the hook exports is what sops encrypts to.
func TestPGP_sops(t *testing.T) {
	t.Parallel()
	p := newProject(t, "p")
	p.write(t, "plain.yaml", []byte("a: b\n"))
	stdout, _ := p.bash(t, "sopsPGPHook", "sopsPGPKeyDirs=keys",
		"'"+testkeys.SOPS(t)+"' encrypt plain.yaml")
	for _, fpr := range []string{rsa, ed} {
		if !strings.Contains(stdout, "fp: "+fpr) {
			t.Errorf("file has no recipient %s:\n%s", fpr, stdout)
		}
	}
}

// A shell has its own options and a shellHook; the hooks change neither and may be sourced twice.
func TestHooks_inAShell(t *testing.T) {
	t.Parallel()
	p := newProject(t, "p")
	for _, options := range []string{"", "set -euo pipefail", "set -f; shopt -s nullglob; IFS=:"} {
		variables := options + "\nsopsPGPKeys='keys/hosts/rsa.asc none.gpg'\nshellHook='echo own hook'\nbefore=$-$(shopt)$IFS"
		stdout, _ := p.bash(t, "sopsImportKeysHook", variables,
			`. "$hook"; echo "$shellHook"; [[ $before == "$-$(shopt)$IFS" ]] && echo same; declare -p paths files 2>/dev/null || true`)
		if want := "own hook\nsopsImportKeysHook;echo own hook\nsame\n"; stdout != want {
			t.Errorf("with %q: printed %q, want %q", options, stdout, want)
		}
	}
	stdout, _ := p.bash(t, "sopsPGPHook", "shellHook='sopsImportKeysHook;'", `echo "$shellHook $SOPS_PGP_FP"`)
	if want := "sopsPGPHook;sopsImportKeysHook; \n"; stdout != want {
		t.Errorf("both hooks: printed %q, want %q", stdout, want)
	}
}
