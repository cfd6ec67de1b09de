package resolve_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// manySecrets is a request for n secrets of one file that has a thousand.
func manySecrets(t testing.TB, path string, n int) resolve.Request {
	t.Helper()
	req := resolve.Request{Keys: manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)}}
	for i := range n {
		req.Secrets = append(req.Secrets, manifest.Source{
			Name: fmt.Sprint(i), SopsFile: path,
			Format: manifest.YAML, Key: fmt.Sprintf("map/key%d", i),
		})
	}
	return req
}

func thousand(t testing.TB) (path string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("map:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "    key%d: value %d\n", i, i)
	}
	return testkeys.Encrypt(t, "yaml", b.String(), "--age", testkeys.Public(t, testkeys.Age))
}

func BenchmarkRun_1000Secrets(b *testing.B) {
	req := manySecrets(b, thousand(b), 1000)
	for b.Loop() {
		if err := resolve.Run(context.Background(), req).Err(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRun_20OpenPGPFiles(b *testing.B) {
	req := openPGPRequest(b)
	for b.Loop() {
		if err := resolve.Run(context.Background(), req).Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// openPGPRequest asks for a secret of each of twenty files for an OpenPGP key that is an SSH key.
func openPGPRequest(t testing.TB) resolve.Request {
	t.Helper()
	env := []string{"GNUPGHOME=" + testkeys.GPGHome(t, testkeys.SSHRSA4096)}
	req := resolve.Request{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t,
		testkeys.SSHRSA4096)}}}
	for i := range 20 {
		path := testkeys.EncryptWith(t, env, "yaml", fmt.Sprintf("a: value %d", i), "--pgp",
			"BCEC1216F0A18664A7B288CD1050F7A7FB338ECA")
		req.Secrets = append(req.Secrets, manifest.Source{
			Name: fmt.Sprint(i), SopsFile: path,
			Format: manifest.YAML, Key: "a",
		})
	}
	return req
}

const helperVariable = "RESOLVE_TEST_FILES"

// TestHelper_decrypt is the program that TestRun_OpenPGPInOneProcess watches.
func TestHelper_decrypt(t *testing.T) {
	list := os.Getenv(helperVariable)
	if list == "" {
		t.Skip("only a helper of another test")
	}
	paths := strings.Split(list, ":")
	req := resolve.Request{Keys: manifest.KeySources{
		SSHKeyPaths:    paths[:1],
		AgeSSHKeyPaths: paths[:1],
	}}
	for i, path := range paths[1:] {
		req.Secrets = append(req.Secrets, manifest.Source{
			Name: fmt.Sprint(i), SopsFile: path,
			Format: manifest.YAML, Key: "a",
		})
	}
	result := resolve.Run(context.Background(), req)
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	for i := range req.Secrets {
		if got := string(result.Secrets[fmt.Sprint(i)].Data); got != fmt.Sprintf("value %d", i) {
			t.Errorf("secret %d is %q", i, got)
		}
	}
}

// Twenty files for an OpenPGP key take one process: this one. (The reference starts gpg for
// each, and an agent.)
func TestRun_OpenPGPInOneProcess(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		testkeys.Missing(t, "strace is not installed")
	}
	req := openPGPRequest(t)
	paths := append([]string(nil), req.Keys.SSHKeyPaths...)
	for _, s := range req.Secrets {
		paths = append(paths, s.SopsFile)
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=execve", "-o", log, os.Args[0],
		"-test.run=^TestHelper_decrypt$", "-test.v")
	cmd.Env = append(os.Environ(), helperVariable+"="+strings.Join(paths, ":"))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestHelper_decrypt")) {
		if bytes.Contains(out, []byte("ptrace")) {
			testkeys.Missing(t, "this machine does not let strace trace: "+string(out))
		}
		t.Fatalf("%v: %s", err, out)
	}
	if got := strings.Count(read(t, log), "execve("); got != 1 {
		t.Errorf("%d programs were started:\n%s", got, read(t, log))
	}
}
