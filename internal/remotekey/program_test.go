package remotekey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
)

// vault serves the one call of HashiCorp Vault's transit engine that decrypting a data key needs.
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#decrypt-data)
func vault(t *testing.T, answers map[string]string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Ciphertext string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/transit/decrypt/host" || r.Header.Get("X-Vault-Token") != "token" {
			http.Error(w, `{"errors":["denied"]}`, http.StatusForbidden)
			return
		}
		plaintext := base64.StdEncoding.EncodeToString([]byte(answers[body.Ciphertext]))
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"plaintext": plaintext}})
	}))
	t.Cleanup(server.Close)
	return server
}

func masterKey(address string) keys.MasterKey {
	return &hcvault.MasterKey{VaultAddress: address, EnginePath: "transit", KeyName: "host", EncryptedKey: "vault:v1:abc"}
}

func TestProgram(t *testing.T) {
	sops := filepath.Join(t.TempDir(), "sops")
	if out, err := exec.Command("go", "build", "-o", sops, "github.com/getsops/sops/v3/cmd/sops").CombinedOutput(); err != nil {
		t.Fatalf("build sops: %v\n%s", err, out)
	}
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	t.Setenv("VAULT_TOKEN", "token")
	server := vault(t, map[string]string{"vault:v1:abc": "the data key of 32 bytes length.."})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	client := NewProgram(func(name string) string { return map[string]string{Variable: sops}[name] })
	answer, err := client.Decrypt(ctx, masterKey(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	if string(answer) != "the data key of 32 bytes length.." {
		t.Errorf("got %q", answer)
	}
	if info, err := os.Stat(client.directory); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of the socket: %v, %v", info.Mode(), err)
	}
	if _, err := client.Decrypt(ctx, masterKey("http://127.0.0.1:1")); err == nil {
		t.Error("decrypted with a server that is not there")
	}
	process := client.command.Process
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := process.Signal(os.Interrupt); err == nil {
		t.Error("sops keyservice is still there")
	}
	if left, _ := os.ReadDir(scratch); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := client.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := client.Decrypt(ctx, masterKey(server.URL)); err == nil {
		t.Error("decrypted after Close")
	}
}

func TestProgram_failures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, program, want string }{
		{"missing", "/nonexistent/sops", "cannot be run"},
		{"ends at once", "false", "ended at once"},
	} {
		client := NewProgram(func(string) string { return c.program })
		_, err := client.Decrypt(t.Context(), masterKey("http://127.0.0.1:1"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
		if err := client.Close(); err != nil {
			t.Errorf("%s: close: %v", c.name, err)
		}
	}
	client := NewProgram(func(string) string { return "/bin/cat" })
	if err := client.Close(); err != nil {
		t.Errorf("close without a start: %v", err)
	}
}

func TestProgram_silent(t *testing.T) {
	t.Parallel()
	silent := filepath.Join(t.TempDir(), "sops")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	client := NewProgram(func(string) string { return silent })
	if _, err := client.Decrypt(ctx, masterKey("http://127.0.0.1:1")); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}
