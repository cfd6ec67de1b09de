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
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestRemoteKey installs two secrets, one of which has its only key in a Vault, for an ordinary
// user. Run by "scripts/slim test" it is the small program that does it: it becomes the full one,
// or installs the secret that needs none.
func TestRemoteKey(t *testing.T) {
	t.Parallel()
	self, full := scripttest.Place(t, install.Program)
	uri := testkeys.Vault(t)
	remote := testkeys.EncryptVault(t, "yaml", "token: sesame\n", uri)
	local := testkeys.Encrypt(t, "yaml", "token: open\n", "--age", testkeys.Public(t, testkeys.Age))
	dir := t.TempDir()
	manifest, link := filepath.Join(dir, "manifest.json"), filepath.Join(dir, "secrets")
	text := fmt.Sprintf(`{"secretsMountPoint": %q, "symlinkPath": %q, "keepGenerations": 1, "userMode": true, "ageKeyFile": %q,
		"secrets": [{"name": "remote", "key": "token", "path": %q, "mode": "0400", "sopsFile": %q, "format": "yaml"},
		{"name": "local", "key": "token", "path": %q, "mode": "0400", "sopsFile": %q, "format": "yaml"}]}`,
		link+".d", link, testkeys.Path(t, testkeys.Age), filepath.Join(link, "remote"), remote, filepath.Join(link, "local"), local)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), self, manifest)
		cmd.Env = []string{"HOME=" + dir, "VAULT_TOKEN=" + testkeys.VaultToken}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	installed := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(link, name)) // none at all is the empty one
		return string(data)
	}
	if remotekey.Small {
		out, err := run()
		if err == nil || !strings.Contains(out, uri) || !strings.Contains(out, full+", is not there") {
			t.Errorf("without the full program: %v\n%s", err, out)
		}
		if installed("remote") != "" || installed("local") != "open" {
			t.Errorf("without the full program: installed %q and %q", installed("remote"), installed("local"))
		}
		scripttest.BuildFull(t, full)
	}
	if out, err := run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if installed("remote") != "sesame" || installed("local") != "open" {
		t.Errorf("installed: %q and %q", installed("remote"), installed("local"))
	}
}
