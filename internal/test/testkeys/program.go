package testkeys

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// CheckProgram runs a program that converts SSH keys on whole and damaged keys. Whatever is wrong
// with a key, no message may contain a part of it, and a failure writes nothing.
func CheckProgram(t *testing.T, run func(cli.Env) int) {
	t.Helper()
	names := []string{
		SSHEd25519, SSHEd25519Passphrase, SSHECDSA, SSHRSA2048, SSHRSAPEM,
		SSHRSAPEMPassphrase, SSHRSAPKCS8,
	}
	for _, name := range names {
		inputs := Damaged(t, name)
		inputs["whole"] = Data(t, name)
		for fault, input := range inputs {
			t.Run(name+"/"+fault, func(t *testing.T) {
				t.Parallel()
				checkProgram(t, run, name, input)
			})
		}
	}
}

func checkProgram(t *testing.T, run func(cli.Env) int, name string, input []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, input, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-i", path},
		{"-private-key"},
		{"-private-key", "-stdinpass", "-i", path}, // the key is the passphrase as well
		{"-private-key", "-i", path, "-o", path},
		{"-i", path, "-o", filepath.Join(path, "below")},
	} {
		var stdout, stderr bytes.Buffer
		status := run(cli.Env{
			Args: args, Stdin: bytes.NewReader(input), Stdout: &stdout, Stderr: &stderr,
			Getenv: func(string) string { return "wrong" },
		})
		if status != cli.Done && stdout.Len() > 0 {
			t.Errorf("%q: status %d, but %d bytes on standard output", args, status, stdout.Len())
		}
		if status == cli.Done && stdout.Len() == 0 {
			t.Errorf("%q: done, but wrote nothing", args)
		}
		if part := Leak(t, name, stderr.String()); part != "" {
			t.Errorf("%q: standard error has %q of the key:\n%s", args, part, stderr.Bytes())
		}
	}
}
