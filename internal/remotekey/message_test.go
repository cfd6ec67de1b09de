//go:build !slim

package remotekey

import (
	"bytes"
	"testing"

	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/kms"
	"google.golang.org/protobuf/proto"
)

// TestDecryptRequest_agreesWithSOPS: what is sent for a key is, for sops, its own request.
func TestDecryptRequest_agreesWithSOPS(t *testing.T) {
	t.Parallel()
	one, two, empty := "1", "2", ""
	for _, key := range []keys.MasterKey{
		&kms.MasterKey{Arn: "arn:aws:kms:eu:1:key/k", EncryptedKey: "e"},
		&kms.MasterKey{
			Arn: "arn:k", Role: "arn:r", AwsProfile: "p", EncryptedKey: "e",
			EncryptionContext: map[string]*string{"a": &one, "b": &two, "c": &empty, "": &one},
		},
		&gcpkms.MasterKey{ResourceID: "projects/p", EncryptedKey: "e"},
		&azkv.MasterKey{VaultURL: "https://v", Name: "n", Version: "1", EncryptedKey: "e"},
		&azkv.MasterKey{VaultURL: "https://v", Name: "n", EncryptedKey: string(bytes.Repeat([]byte("long"), 1000))},
		&hcvault.MasterKey{VaultAddress: "https://v", EnginePath: "transit", KeyName: "k", EncryptedKey: "vault:v1:\x00\xff"},
		&hcvault.MasterKey{},
		&hckms.MasterKey{KeyID: "r:u", Region: "r", KeyUUID: "u", EncryptedKey: "e"},
	} {
		named := keyservice.KeyFromMasterKey(key)
		want := &keyservice.DecryptRequest{Key: &named, Ciphertext: key.EncryptedDataKey()}
		sent, err := decryptRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		got := new(keyservice.DecryptRequest)
		if err := proto.Unmarshal(sent, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", key.ToString(), got, err, want)
		}
	}
	if _, err := decryptRequest(&age.MasterKey{}); err == nil {
		t.Error("a local key is sent")
	}
}

func TestPlaintext_agreesWithSOPS(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"", "k", string(bytes.Repeat([]byte{0, 0xff}, 300))} {
		data, err := proto.Marshal(&keyservice.DecryptResponse{Plaintext: []byte(want)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := message(data).plaintext(); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
