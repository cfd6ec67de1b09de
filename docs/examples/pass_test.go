// Package examples tests the script of the documentation that somebody's only copy of their secrets
// goes through.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestPassToSops runs the script with the real gpg. A stand-in for sops writes down what it is
// given.
func TestPassToSops(t *testing.T) {
	t.Parallel()
	scripttest.Need(t, "bash", "gpg", "find", "sort", "sed", "realpath")
	dir := t.TempDir()
	home, foreign, store, bin := filepath.Join(dir, "home"), filepath.Join(dir, "foreign"), filepath.Join(dir, "store"), filepath.Join(dir, "bin")
	for _, d := range []string{home, foreign, filepath.Join(store, "mail"), bin} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sops := filepath.Join(bin, "sops")
	if err := os.WriteFile(sops, []byte("#!/bin/sh\nexec cat\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	gpg := func(home, stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--trust-model", "always"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		for _, h := range []string{home, foreign} {
			_ = exec.Command("gpgconf", "--homedir", h, "--kill", "all").Run()
		}
	})
	gpg(home, "", "--import", testkeys.Path(t, testkeys.GPGEd25519))
	gpg(foreign, "", "--import", testkeys.Path(t, testkeys.GPGRSA))
	add := func(name, home, key, text string) {
		t.Helper()
		gpg(home, text, "--encrypt", "--recipient", key, "--output", filepath.Join(store, name+".gpg"))
	}
	add("mail/smtp", home, testkeys.GPGEd25519Fingerprint, "correct horse\n")
	add("two", home, testkeys.GPGEd25519Fingerprint, "first\n  second\n")

	run := func(store, file string) (string, error) {
		cmd := exec.Command("bash", "pass-to-sops.sh", file)
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "GNUPGHOME=" + home, "PASSWORD_STORE_DIR=" + store}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	// A trailing slash of the directory is none of the names.
	file := filepath.Join(dir, "good.yaml")
	if out, err := run(store+"/", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(file) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	if want := "\"mail/smtp\": |2-\n  correct horse\n\n\"two\": |2-\n  first\n    second\n"; string(got) != want {
		t.Errorf("sops is given %q, want %q", got, want)
	}

	for name, c := range map[string]struct {
		store, says string
		prepare     func()
	}{
		"an entry for somebody else's key": {store, "another.gpg: cannot be decrypted", func() {
			add("another", foreign, testkeys.GPGRSAFingerprint, "theirs\n")
		}},
		"no such store": {filepath.Join(dir, "nowhere"), "No such file or directory", func() {}},
	} {
		c.prepare()
		file := filepath.Join(dir, "bad.yaml")
		out, err := run(c.store, file)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v, want an error that says %q\n%s", name, err, c.says, out)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s: the file was written (%v)", name, err)
		}
	}
}
