package testkeys

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// VaultToken is what a client of Vault has to show, in the variable VAULT_TOKEN.
const VaultToken = "test-token"

// Vault serves the two calls of HashiCorp Vault's transit engine that sops needs, on the loopback,
// until the test ends. It returns the URI of a key, for sops's flag --hc-vault-transit. What it
// "encrypts" it keeps and hands out a number for.
// (https://developer.hashicorp.com/vault/api-docs/secret/transit)
func Vault(t testing.TB) string {
	t.Helper()
	var mu sync.Mutex
	var kept []string // base64, as it came
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Plaintext, Ciphertext string }
		if r.Header.Get("X-Vault-Token") != VaultToken || json.NewDecoder(r.Body).Decode(&body) != nil {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answer := map[string]string{}
		var number int
		switch _, err := fmt.Sscanf(body.Ciphertext, "vault:v1:%d", &number); {
		case strings.HasPrefix(r.URL.Path, "/v1/transit/encrypt/"):
			answer["ciphertext"] = fmt.Sprintf("vault:v1:%d", len(kept))
			kept = append(kept, body.Plaintext)
		case strings.HasPrefix(r.URL.Path, "/v1/transit/decrypt/") && err == nil && number >= 0 &&
			number < len(kept):
			answer["plaintext"] = kept[number]
		default:
			http.Error(w, `{"errors":["no handler for route, or not encrypted here"]}`,
				http.StatusBadRequest)
			return
		}
		// a client that is gone shows in its own test
		_ = json.NewEncoder(w).Encode(map[string]any{"data": answer})
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1/transit/keys/host"
}

// EncryptVault encrypts text with sops for the key of a Vault, and for nobody else.
func EncryptVault(t testing.TB, format, text, uri string) string {
	t.Helper()
	return EncryptWith(t, []string{"VAULT_TOKEN=" + VaultToken, "VAULT_ADDR="}, format, text,
		"--hc-vault-transit", uri)
}
