package resolve_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestRemoteKey decrypts and checks files of which a key is in a Vault. A small program without
// its full one says so, in builds as well, and only for files that no key on a host opens.
func TestRemoteKey(t *testing.T) {
	t.Setenv("VAULT_TOKEN", testkeys.VaultToken)
	uri := testkeys.Vault(t)
	only := testkeys.EncryptVault(t, "yaml", "disk: passphrase\n", uri)
	also := testkeys.EncryptWith(t, []string{"VAULT_TOKEN=" + testkeys.VaultToken}, "yaml",
		"disk: passphrase\n",
		"--hc-vault-transit", uri, "--age", testkeys.Public(t, testkeys.Age))
	for path, local := range map[string]bool{only: false, also: true} {
		req := resolve.Request{
			Keys:    manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)},
			Secrets: []manifest.Source{{Name: "disk", Key: "disk", SopsFile: path, Format: manifest.YAML}},
		}
		value := resolve.Run(t.Context(), req).Secrets["disk"]
		if remotekey.Small && !local {
			for what, err := range map[string]error{"run": value.Err, "check": resolve.Check(req,
				resolve.CheckSopsFile)} {
				var stderr bytes.Buffer
				cli.Report(cli.Env{Stderr: &stderr}, "program", err)
				for _, want := range []string{path, "the full one, ", " is not there"} {
					if !strings.Contains(stderr.String(), want) {
						t.Errorf("%s without the full program: %q not in %s", what, want, stderr.String())
					}
				}
			}
			continue
		}
		if value.Err != nil || string(value.Data) != "passphrase" {
			t.Errorf("an age key fits: %v; %q, %v", local, value.Data, value.Err)
		}
		if err := resolve.Check(req, resolve.CheckSopsFile); err != nil {
			t.Errorf("an age key fits: %v; check: %v", local, err)
		}
	}
}
