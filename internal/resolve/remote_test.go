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

// TestRun_remoteKey decrypts a file whose only key is in a Vault. The full build does it alone, the slim build asks sops, and
// says so where there is none.
func TestRun_remoteKey(t *testing.T) {
	sops := testkeys.SOPS(t)
	t.Setenv("VAULT_TOKEN", testkeys.VaultToken)
	t.Setenv("PATH", t.TempDir())
	uri := testkeys.Vault(t)
	path := testkeys.EncryptVault(t, "yaml", "disk: passphrase\n", uri)
	_, slim := remotekey.New(nil).(*remotekey.Program)

	run := func(program string) resolve.Value {
		result := resolve.Run(t.Context(), resolve.Request{
			Secrets: []manifest.Source{{Name: "disk", Key: "disk", SopsFile: path, Format: manifest.YAML}},
			Getenv:  func(name string) string { return map[string]string{remotekey.Variable: program}[name] },
		})
		if len(result.Warnings) > 0 {
			t.Errorf("warnings: %q", result.Warnings)
		}
		return result.Secrets["disk"]
	}
	if got := run(sops); got.Err != nil || string(got.Data) != "passphrase" {
		t.Errorf("with sops: %q, %v", got.Data, got.Err)
	}
	got := run("")
	switch {
	case !slim && (got.Err != nil || string(got.Data) != "passphrase"):
		t.Errorf("full build without sops: %q, %v", got.Data, got.Err)
	case slim && got.Err == nil:
		t.Error("slim build without sops: decrypted")
	case slim:
		var stderr bytes.Buffer
		cli.Report(cli.Env{Stderr: &stderr}, "program", got.Err)
		for _, want := range []string{path, uri, "put sops into PATH", remotekey.Variable} {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("slim build without sops: %q not in %s", want, stderr.String())
			}
		}
	}
}

// TestCheck_remoteKey: a build without keys sees that a host could not open a file, and names it.
func TestCheck_remoteKey(t *testing.T) {
	sops := testkeys.SOPS(t)
	t.Setenv("PATH", t.TempDir())
	uri := testkeys.Vault(t)
	only := testkeys.EncryptVault(t, "yaml", "key: value\n", uri)
	also := testkeys.EncryptWith(t, []string{"VAULT_TOKEN=" + testkeys.VaultToken}, "yaml", "key: value\n",
		"--hc-vault-transit", uri, "--age", testkeys.Public(t, testkeys.Age))
	_, slim := remotekey.New(nil).(*remotekey.Program)

	check := func(path, program string) string {
		var stderr bytes.Buffer
		cli.Report(cli.Env{Stderr: &stderr}, "program", resolve.Check(resolve.Request{
			Secrets: []manifest.Source{{Name: "s", Key: "key", SopsFile: path, Format: manifest.YAML}},
			Getenv:  func(name string) string { return map[string]string{remotekey.Variable: program}[name] },
		}, resolve.CheckSopsFile))
		return stderr.String()
	}
	if got := check(also, ""); got != "" {
		t.Errorf("a file that an age key opens, too: %s", got)
	}
	if got := check(only, sops); got != "" {
		t.Errorf("with sops: %s", got)
	}
	got := check(only, "")
	if !slim && got != "" {
		t.Errorf("full build without sops: %s", got)
	}
	if slim && (!strings.Contains(got, only) || !strings.Contains(got, "pkgs.sops")) {
		t.Errorf("slim build without sops: %s", got)
	}
}
