package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/testkeys"
)

// Whatever is wrong with a key, no message contains a part of it, and a failure writes nothing.
func TestRun_leak(t *testing.T) {
	t.Parallel()
	names := []string{
		testkeys.SSHEd25519, testkeys.SSHEd25519Passphrase, testkeys.SSHECDSA, testkeys.SSHRSA2048, testkeys.SSHRSAPEM,
		testkeys.SSHRSAPEMPassphrase, testkeys.SSHRSAPKCS8,
	}
	for _, name := range names {
		inputs := testkeys.Damaged(t, name)
		inputs["whole"] = testkeys.Data(t, name)
		for fault, input := range inputs {
			t.Run(name+"/"+fault, func(t *testing.T) {
				t.Parallel()
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
					if part := testkeys.Leak(t, name, stderr.String()); part != "" {
						t.Errorf("%q: standard error has %q of the key:\n%s", args, part, stderr.Bytes())
					}
				}
			})
		}
	}
}
