// Package testkeys has fixed keys for tests, and the real sops to encrypt for them. It is imported
// by tests only. The keys protect nothing.
package testkeys

import (
	"bytes"
	"embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed testdata
var files embed.FS

// The names of the private keys, for Data, Path and Public.
const (
	SSHEd25519           = "ssh_ed25519"
	SSHEd25519Other      = "ssh_ed25519_other"
	SSHEd25519Passphrase = "ssh_ed25519_passphrase"
	SSHECDSA             = "ssh_ecdsa"
	SSHRSA2048           = "ssh_rsa_2048"
	SSHRSA4096           = "ssh_rsa_4096"
	SSHRSA8192           = "ssh_rsa_8192"
	SSHRSAPEM            = "ssh_rsa_pem"
	SSHRSAPEMPassphrase  = "ssh_rsa_pem_passphrase"
	SSHRSAPKCS8          = "ssh_rsa_pkcs8"
	Age                  = "age.txt"
	AgeOther             = "age_other.txt"
	AgePQ                = "age_pq.txt"
	GPGRSA               = "gpg_rsa.asc"
	GPGEd25519           = "gpg_ed25519.asc"
)

// The fingerprints of the OpenPGP keys.
const (
	GPGRSAFingerprint     = "ACB4928090543B8B34568E92C4BFF35F5197F52B"
	GPGEd25519Fingerprint = "759DB3A3ECCF53A548DE37CDE66A18AC00D6A047"
)

// Data is the content of a key file.
func Data(t testing.TB, name string) []byte {
	t.Helper()
	data, err := files.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Path is a private copy of a key file.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, Data(t, name), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Public is the public half: the line of the .pub file of an SSH key without its comment, the
// recipient of an age key.
func Public(t testing.TB, name string) string {
	t.Helper()
	if strings.HasPrefix(name, "ssh_") {
		return strings.Join(strings.Fields(string(Data(t, name+".pub")))[:2], " ")
	}
	_, rest, ok := strings.Cut(string(Data(t, name)), "# public key: ")
	if !ok {
		t.Fatalf("%s has no public half", name)
	}
	recipient, _, _ := strings.Cut(rest, "\n")
	return recipient
}

// findSOPS finds (and builds, the first time) the sops that go.mod pins.
var findSOPS = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "sops").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(string(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
})

// SOPS is the path of the sops program.
func SOPS(t testing.TB) string {
	t.Helper()
	path, err := findSOPS()
	if err != nil {
		t.Fatalf("build sops: %v", err)
	}
	return path
}

// RunSOPS runs sops with nothing in its environment but PATH, an empty home and env, and returns
// what it prints.
func RunSOPS(t testing.TB, env []string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(SOPS(t), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "XDG_CONFIG_HOME=" +
		cmd.Dir}, env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("sops %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes()
}

// Encrypt encrypts text with sops for recipients ("--age", "age1…") and other flags, and returns
// the path of the file.
func Encrypt(t testing.TB, format, text string, flags ...string) string {
	t.Helper()
	return EncryptWith(t, nil, format, text, flags...)
}

// EncryptWith is Encrypt with variables for sops, such as GNUPGHOME.
func EncryptWith(t testing.TB, env []string, format, text string, flags ...string) string {
	t.Helper()
	var global []string
	if len(flags) > 1 && flags[0] == "--config" { // a flag of sops itself
		global, flags = flags[:2], flags[2:]
	}
	args := append(global, "encrypt", "--input-type", format, "--output-type", format,
		"--filename-override", "secrets."+format)
	args = append(args, flags...)
	path := filepath.Join(t.TempDir(), "secrets."+format)
	if err := os.WriteFile(path, RunSOPS(t, env, []byte(text), append(args, "/dev/stdin")...),
		0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// GPGHome is a GnuPG home with OpenPGP keys: private ones (GPGRSA, GPGEd25519), or the public
// halves of SSH RSA keys. Its path is short, as those of sockets must be. Its agent is ended after
// the test.
func GPGHome(t testing.TB, names ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		Missing(t, "gpg is not installed")
	}
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		EndAgent(t, home)
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	for _, name := range names {
		if strings.HasPrefix(name, "ssh_") {
			name += ".pgp"
		}
		cmd := exec.Command("gpg", "--homedir", home, "--batch", "--quiet", "--import")
		cmd.Stdin = bytes.NewReader(Data(t, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("import %s: %v: %s", name, err, out)
		}
	}
	return home
}

// EndAgent ends the agent of a GnuPG home and waits until it is gone: one that is still ending
// would remove the sockets of the next one, or be found where none should run.
func EndAgent(t testing.TB, home string) {
	t.Helper()
	if out, err := exec.Command("gpgconf", "--homedir", home, "--kill",
		"all").CombinedOutput(); err != nil {
		t.Errorf("end the agent: %v: %s", err, out)
	}
	AwaitAgent(t, home, false)
}

// AwaitAgent waits until an agent serves a GnuPG home, or none does.
func AwaitAgent(t testing.TB, home string, want bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ask := exec.Command("gpg-connect-agent", "--homedir", home, "--no-autostart", "GETINFO pid",
			"/bye")
		out, err := ask.Output()
		if runs := err == nil && bytes.Contains(out, []byte("OK")); runs == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("an agent serves %s: %v, want %v", home, !want, want)
		}
	}
}

// Missing skips a test that needs something this machine does not have; in CI it fails.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
