package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestRemoteKey appends a secret whose only key is in a Vault. Run by "scripts/slim test" it is
// the small program that does it: it becomes the full one before it asks anything, or says that
// there is none.
func TestRemoteKey(t *testing.T) {
	t.Parallel()
	self, full := scripttest.Place(t, program)
	uri := testkeys.Vault(t)
	file := testkeys.EncryptVault(t, "yaml", "disk: passphrase\n", uri)
	dir := t.TempDir()
	manifest, image, asked := filepath.Join(dir, "manifest.json"), filepath.Join(dir,
		"image"), filepath.Join(dir, "asked")
	text := fmt.Sprintf(`{"version": 1, "secrets": [{"name": "disk", "key": "disk", "sopsFile": %q, "format": "yaml"}],
		"entries": [{"path": "/disk.key", "secret": "disk"}]}`, file)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	appendTo := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), self, "append", "--manifest", manifest, "--state",
			filepath.Join(dir, "state"), image)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "VAULT_TOKEN=" + testkeys.VaultToken,
			"SOPS_AGE_KEY_CMD=sh -c 'echo . >> " + asked + "'",
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	refused := func(what, want string) {
		t.Helper()
		out, err := appendTo()
		if err == nil || !strings.Contains(out, uri) || !strings.Contains(out, "without the clients") ||
			!strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if _, err := os.Stat(image); err == nil {
			t.Errorf("%s: an image was written", what)
		}
	}
	if remotekey.Small {
		refused("without the full program", full+", is not there")
		scripttest.Copy(t, self, full)
		refused("with the small program in the full one's place", "is not there")
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		scripttest.BuildFull(t, full)
	}
	if err := os.RemoveAll(asked); err != nil {
		t.Fatal(err)
	}
	if out, err := appendTo(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(image)
	if err != nil || !strings.Contains(string(data), "passphrase") {
		t.Errorf("the secret is not in the image: %v", err)
	}
	if times, err := os.ReadFile(asked); bytes.Count(times, []byte("\n")) > 1 {
		t.Errorf("a program that prints keys was asked %d times, %v", bytes.Count(times, []byte("\n")),
			err)
	}
}
