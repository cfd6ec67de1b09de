package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/install"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestRemoteKey installs a secret whose only key is in a Vault, for an ordinary user, with and without a sops to ask. Run by
// "scripts/slim test" it is the slim program that does it.
func TestRemoteKey(t *testing.T) {
	t.Parallel()
	self, err := exec.LookPath(install.Program)
	if err != nil {
		t.Fatal(err)
	}
	uri := testkeys.Vault(t)
	file := testkeys.EncryptVault(t, "yaml", "token: sesame\n", uri)
	dir := t.TempDir()
	manifest, link := filepath.Join(dir, "manifest.json"), filepath.Join(dir, "secrets")
	text := fmt.Sprintf(`{"secretsMountPoint": %q, "symlinkPath": %q, "keepGenerations": 1, "userMode": true,
		"secrets": [{"name": "token", "key": "token", "path": %q, "mode": "0400", "sopsFile": %q, "format": "yaml"}]}`,
		link+".d", link, filepath.Join(link, "token"), file)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	installWith := func(path string) (string, error) {
		cmd := exec.Command(self, manifest)
		cmd.Env = []string{"PATH=" + path, "HOME=" + dir, "VAULT_TOKEN=" + testkeys.VaultToken}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	out, err := installWith(t.TempDir())
	if _, slim := remotekey.New(nil).(*remotekey.Program); slim {
		if err == nil || !strings.Contains(out, uri) || !strings.Contains(out, "put sops into PATH") {
			t.Errorf("without sops: %v\n%s", err, out)
		}
		if _, err := os.Stat(filepath.Join(link, "token")); err == nil {
			t.Error("without sops: a secret was installed")
		}
	} else if err != nil {
		t.Errorf("the full program needs no sops: %v\n%s", err, out)
	}

	if out, err := installWith(filepath.Dir(testkeys.SOPS(t))); err != nil {
		t.Fatalf("with sops: %v\n%s", err, out)
	}
	if data, err := os.ReadFile(filepath.Join(link, "token")); err != nil || string(data) != "sesame" {
		t.Errorf("installed: %q, %v", data, err)
	}
}
