//go:build !slim

package sopsfile

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// vault answers like HashiCorp Vault's transit engine, without encrypting anything.
type vault struct {
	decrypts atomic.Int32
	hang     chan struct{} // if not nil, it is waited for before an answer
	garbage  string        // if not empty, the answer to a decryption
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Plaintext, Ciphertext string }
	_ = json.NewDecoder(r.Body).Decode(&request)
	answer := map[string]string{"ciphertext": "vault:v1:" + request.Plaintext}
	if strings.Contains(r.URL.Path, "/decrypt/") {
		v.decrypts.Add(1)
		if v.hang != nil {
			<-v.hang
		}
		if v.garbage != "" {
			_, _ = io.WriteString(w, v.garbage)
			return
		}
		answer = map[string]string{"plaintext": strings.TrimPrefix(request.Ciphertext, "vault:v1:")}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": answer})
}

func newVault(t *testing.T, v *vault) (address string) {
	t.Helper()
	server := httptest.NewServer(v)
	t.Cleanup(func() {
		if v.hang != nil {
			close(v.hang)
		}
		server.Close()
	})
	testkeys.SOPS(t) // is built below the real home
	t.Setenv("VAULT_TOKEN", "token")
	t.Setenv("HOME", t.TempDir())
	return server.URL
}

func encryptForVault(t *testing.T, address string, more ...string) *File {
	t.Helper()
	path := testkeys.EncryptWith(t, []string{"VAULT_TOKEN=token"}, "yaml", "a: b\n", append([]string{"--hc-vault-transit", address + "/v1/sops/keys/k"}, more...)...)
	return open(t, path, manifest.YAML)
}

func TestDecrypt_keyService(t *testing.T) {
	v := &vault{}
	f := encryptForVault(t, newVault(t, v))
	plain, attempts, err := f.Decrypt(context.Background(), ringOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Value("a"); err != nil || string(got) != "b" {
		t.Errorf("%q, %v", got, err)
	}
	if len(attempts) != 1 || attempts[0].Outcome != Opened || attempts[0].Source != "hc_vault" || v.decrypts.Load() != 1 {
		t.Errorf("%v, %d calls", attempts, v.decrypts.Load())
	}
}

// A key on this host spares the network, in whatever order the file names them.
func TestDecrypt_localKeysBeforeTheNetwork(t *testing.T) {
	v := &vault{}
	f := encryptForVault(t, newVault(t, v), "--age", testkeys.Public(t, testkeys.Age))
	if f.Recipients()[0].Type != "hc_vault" {
		t.Fatalf("recipients: %v", f.Recipients())
	}
	decrypt(t, f, testkeys.Age)
	if n := v.decrypts.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestDecrypt_keyServiceThatHangs(t *testing.T) {
	f := encryptForVault(t, newVault(t, &vault{hang: make(chan struct{})}), "--age", testkeys.Public(t, testkeys.AgeOther))
	begin := time.Now()
	ring := keyring.Open(keyring.Config{Keys: manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)}, Timeout: 200 * time.Millisecond})
	var err error
	for range 50 { // files with the same recipient: it is waited for once
		_, _, err = f.Decrypt(context.Background(), ring)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	var noKey *NoKeyError
	if !errors.As(err, &noKey) {
		t.Fatalf("error is %v", err)
	}
	if got := noKey.Attempts[0].Reason; got != "no answer in 200ms" {
		t.Errorf("reason is %q", got)
	}
}

// Whatever a service answers, the file is not decrypted with it, and the reason is one short line.
func TestDecrypt_keyServiceWithGarbage(t *testing.T) {
	v := &vault{}
	f := encryptForVault(t, newVault(t, v))
	plaintext := func(key string) string {
		return `{"data": {"plaintext": "` + base64.StdEncoding.EncodeToString([]byte(key)) + `"}}`
	}
	for name, garbage := range map[string]string{
		"no JSON": "POISON\x1b[31m\n", "cut off": `{"data": {`, "no data": `{}`, "null": `null`,
		"data of another type": `{"data": "POISON"}`, "a number": `{"data": {"plaintext": 5}}`,
		"no base64": `{"data": {"plaintext": "*"}}`, "an empty key": plaintext(""),
		"a short key": plaintext("short"), "a long key": plaintext(strings.Repeat("x", 1<<20)),
		"another key": plaintext(strings.Repeat("x", 32)), "deep": strings.Repeat("[", 1<<20),
		"long": `{"warnings": ["` + strings.Repeat("POISON", 1<<18) + `"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			v.garbage = garbage
			_, attempts, err := f.Decrypt(context.Background(), ringOf(t))
			if err == nil {
				t.Fatal("decrypted")
			}
			for _, text := range []string{err.Error(), attempts[0].Reason} {
				if len(text) > 1000 || strings.ContainsAny(text, "\x1b\n") {
					t.Errorf("it says %.2000q", text)
				}
			}
		})
	}
}

func TestDecrypt_keyServiceThatIsNotThere(t *testing.T) {
	f := encryptForVault(t, newVault(t, &vault{}))
	refused := httptest.NewServer(nil)
	refused.Close()
	moved := strings.ReplaceAll(read(t, f.tree.FilePath), f.Recipients()[0].ID[:strings.Index(f.Recipients()[0].ID, "/v1/")], refused.URL)
	g, err := Parse("f", []byte(moved), manifest.YAML)
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.Open(keyring.Config{Timeout: 3 * time.Second})
	_, attempts, err := g.Decrypt(context.Background(), ring)
	if err == nil || !strings.Contains(err.Error(), "no key fits (encrypted for hc_vault "+refused.URL) {
		t.Errorf("error is %v", err)
	}
	if len(attempts) != 1 || !strings.Contains(attempts[0].Reason, "refused") && attempts[0].Reason != "no answer in 3s" {
		t.Errorf("attempts: %v", attempts)
	}
}
