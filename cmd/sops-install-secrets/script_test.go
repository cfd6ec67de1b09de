package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/install"
	"github.com/sops-initrd/sops-initrd/internal/manpage"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
	"github.com/sops-initrd/sops-initrd/internal/test/testns"
)

func TestMain(m *testing.M) {
	scripttest.Main(m, map[string]func(cli.Env) int{install.Program: func(e cli.Env) int {
		runtime.LockOSThread() // the system calls of one thread can be counted
		return run(e)
	}})
}

// sopsPath names the real sops to a test that runs in a namespace.
const sopsPath = "TEST_SOPS"

// TestScripts runs each script as root with a /run and an /etc of its own. Scripts have the real
// sops in their PATH, and the keys of package testkeys in $KEYS, with their recipients in $AGE,
// $AGE_OTHER and so on.
func TestScripts(t *testing.T) {
	t.Parallel()
	if os.Getenv(sopsPath) != "" && testns.Inside(t) {
		scripttest.Run(t, setup(t))
		return
	}
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			t.Parallel()
			testns.Need(t)
			needTools(t, script)
			testns.Inside(t, sopsPath+"="+testkeys.SOPS(t))
		})
	}
}

// needTools skips a script that uses a program which is not installed; in CI it fails.
func needTools(t *testing.T, script string) {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"bash", "findmnt", "gpg", "setpriv", "ssh-keygen", "strace", "unshare"} {
		if strings.Contains(string(text), "exec "+tool+" ") {
			scripttest.Need(t, tool)
		}
	}
	if strings.Contains(string(text), "unshare --map-root-user") &&
		exec.Command("unshare", "--map-root-user", "true").Run() != nil {
		t.Skip("not here: user namespaces (there are none in a chroot)")
	}
}

func setup(t *testing.T) func(*testscript.Env) error {
	return func(e *testscript.Env) error {
		dir := filepath.Join(e.WorkDir, ".tools")
		keys := filepath.Join(dir, "keys")
		if err := os.MkdirAll(keys, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(os.Getenv(sopsPath), filepath.Join(dir, "sops")); err != nil {
			return err
		}
		for variable, name := range map[string]string{
			"AGE": testkeys.Age, "AGE_OTHER": testkeys.AgeOther, "SSH": testkeys.SSHEd25519, "RSA": testkeys.SSHRSA2048, "GPG": testkeys.GPGRSA,
		} {
			if err := os.WriteFile(filepath.Join(keys, name), testkeys.Data(t, name), 0o600); err != nil {
				return err
			}
			if name != testkeys.GPGRSA {
				e.Setenv(variable, testkeys.Public(t, name))
			}
		}
		if err := convertKeys(t, e, filepath.Join(keys, "ssh_rsa_2048.gpg")); err != nil {
			return err
		}
		e.Setenv("GPG", testkeys.GPGRSAFingerprint)
		bin, _, _ := strings.Cut(e.Getenv("PATH"), string(os.PathListSeparator))
		e.Setenv("BIN", bin)                                       // where the program is, and nothing else
		if err := os.Chmod(filepath.Dir(bin), 0o755); err != nil { // for ordinary users
			return err
		}
		e.Setenv("KEYS", keys)
		e.Setenv("HOME", "/var/empty")
		e.Setenv("PATH", dir+string(os.PathListSeparator)+e.Getenv("PATH"))
		return substitute(e.WorkDir, strings.NewReplacer("$WORK", e.WorkDir, "$KEYS", keys))
	}
}

// convertKeys writes what ssh-to-pgp makes of the RSA key, for gpg to encrypt to; its fingerprint
// is in $RSA_PGP. What ssh-to-age makes of the ed25519 key is in $AGE_SSH.
func convertKeys(t *testing.T, e *testscript.Env, path string) error {
	t.Helper()
	key, err := sshkey.Parse(testkeys.Data(t, testkeys.SSHRSA2048))
	if err != nil {
		return err
	}
	public, err := sshkey.ParsePublic(testkeys.Public(t, testkeys.SSHRSA2048))
	if err != nil {
		return err
	}
	text, err := key.OpenPGP(sshkey.UserID{Name: "root", Email: "root@test"}, false)
	if err != nil {
		return err
	}
	e.Setenv("RSA_PGP", public.PGPFingerprint())
	ed25519, err := sshkey.ParsePublic(testkeys.Public(t, testkeys.SSHEd25519))
	if err != nil {
		return err
	}
	e.Setenv("AGE_SSH", ed25519.AgeRecipient())
	return os.WriteFile(path, text, 0o600)
}

// substitute puts real paths into the manifests of a script.
func substitute(dir string, paths *strings.Replacer) error {
	manifests, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, m := range manifests {
		data, err := os.ReadFile(m)
		if err != nil {
			return err
		}
		if err := os.WriteFile(m, []byte(paths.Replace(string(data))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func TestManPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/man/sops-install-secrets.1.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := manpage.Check(newFlagSet(new(flags)), usage, string(page)); err != nil {
		t.Error(err)
	}
}
