package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestRemoteKey appends a secret whose only key is in a Vault, with and without a sops to ask. Run by "scripts/slim test" it is the
// slim program that does it.
func TestRemoteKey(t *testing.T) {
	t.Parallel()
	self, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	uri := testkeys.Vault(t)
	file := testkeys.EncryptVault(t, "yaml", "disk: passphrase\n", uri)
	dir := t.TempDir()
	manifest, image := filepath.Join(dir, "manifest.json"), filepath.Join(dir, "image")
	text := fmt.Sprintf(`{"version": 1, "secrets": [{"name": "disk", "key": "disk", "sopsFile": %q, "format": "yaml"}],
		"entries": [{"path": "/disk.key", "secret": "disk"}]}`, file)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	appendTo := func(path string) (string, error) {
		cmd := exec.Command(self, "append", "--manifest", manifest, "--state", filepath.Join(dir, "state"), image)
		cmd.Env = []string{"PATH=" + path, "HOME=" + dir, "VAULT_TOKEN=" + testkeys.VaultToken}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	out, err := appendTo(t.TempDir())
	if _, slim := remotekey.New(nil).(*remotekey.Program); slim {
		if err == nil || !strings.Contains(out, uri) || !strings.Contains(out, "put sops into PATH") {
			t.Errorf("without sops: %v\n%s", err, out)
		}
		if _, err := os.Stat(image); err == nil {
			t.Error("without sops: an image was written")
		}
	} else if err != nil {
		t.Errorf("the full program needs no sops: %v\n%s", err, out)
	}

	if out, err := appendTo(filepath.Dir(testkeys.SOPS(t))); err != nil {
		t.Fatalf("with sops: %v\n%s", err, out)
	}
	data, err := os.ReadFile(image)
	if err != nil || !strings.Contains(string(data), "passphrase") {
		t.Errorf("the secret is not in the image: %v", err)
	}
}
