package slim_test

import (
	"testing"
	"time"

	realazkv "github.com/getsops/sops/v3/azkv"
	realgcpkms "github.com/getsops/sops/v3/gcpkms"
	realhckms "github.com/getsops/sops/v3/hckms"
	realhcvault "github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	realkms "github.com/getsops/sops/v3/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/slim/azkv"
	"github.com/sops-initrd/sops-initrd/internal/slim/gcpkms"
	"github.com/sops-initrd/sops-initrd/internal/slim/hckms"
	"github.com/sops-initrd/sops-initrd/internal/slim/hcvault"
	"github.com/sops-initrd/sops-initrd/internal/slim/kms"
)

// TestStandIn compares every stand-in with the package of sops that it stands in for.
func TestStandIn(t *testing.T) {
	t.Parallel()
	value, other := "1", "2"
	context := map[string]*string{"b": &value, "a": &other}
	young, old := time.Now().Add(-24*time.Hour), time.Now().Add(-200*24*time.Hour)
	for _, created := range []time.Time{young, old} {
		for _, c := range []struct {
			name       string
			ours, real keys.MasterKey
		}{
			{
				"kms",
				&kms.MasterKey{Arn: "arn:aws:kms:eu:1:key/k", EncryptedKey: "e", CreationDate: created},
				&realkms.MasterKey{Arn: "arn:aws:kms:eu:1:key/k", EncryptedKey: "e", CreationDate: created},
			},
			{
				"kms with role and context",
				&kms.MasterKey{Arn: "arn:k", Role: "arn:r", EncryptedKey: "e", CreationDate: created, EncryptionContext: context},
				&realkms.MasterKey{Arn: "arn:k", Role: "arn:r", EncryptedKey: "e", CreationDate: created, EncryptionContext: context},
			},
			{
				"kms with profile",
				&kms.MasterKey{Arn: "arn:k", EncryptedKey: "e", CreationDate: created, AwsProfile: "p"},
				&realkms.MasterKey{Arn: "arn:k", EncryptedKey: "e", CreationDate: created, AwsProfile: "p"},
			},
			{"kms from ARN", kms.MasterKeysFromArnString("arn:k+arn:r", nil, "p")[0], realkms.MasterKeysFromArnString("arn:k+arn:r", nil, "p")[0]},
			{
				"gcpkms",
				&gcpkms.MasterKey{ResourceID: "projects/p", EncryptedKey: "e", CreationDate: created},
				&realgcpkms.MasterKey{ResourceID: "projects/p", EncryptedKey: "e", CreationDate: created},
			},
			{
				"azkv",
				&azkv.MasterKey{VaultURL: "https://v", Name: "n", Version: "1", EncryptedKey: "e", CreationDate: created},
				&realazkv.MasterKey{VaultURL: "https://v", Name: "n", Version: "1", EncryptedKey: "e", CreationDate: created},
			},
			{
				"hcvault",
				&hcvault.MasterKey{VaultAddress: "https://v", EnginePath: "transit", KeyName: "k", EncryptedKey: "e", CreationDate: created},
				&realhcvault.MasterKey{VaultAddress: "https://v", EnginePath: "transit", KeyName: "k", EncryptedKey: "e", CreationDate: created},
			},
			{
				"hckms",
				&hckms.MasterKey{KeyID: "r:u", Region: "r", KeyUUID: "u", EncryptedKey: "e", CreationDate: created},
				&realhckms.MasterKey{KeyID: "r:u", Region: "r", KeyUUID: "u", EncryptedKey: "e", CreationDate: created},
			},
		} {
			type seen struct {
				Name, Type string
				Map        map[string]any
				Rotate     bool
				Encrypted  string
			}
			look := func(k keys.MasterKey) seen {
				return seen{k.ToString(), k.TypeToIdentifier(), k.ToMap(), k.NeedsRotation(), string(k.EncryptedDataKey())}
			}
			if diff := cmp.Diff(look(c.real), look(c.ours)); diff != "" {
				t.Errorf("%s (-sops +stand-in):\n%s", c.name, diff)
			}
			if data, err := c.ours.Decrypt(); err == nil || data != nil {
				t.Errorf("%s: decrypted without the SDK", c.name)
			}
			if err := c.ours.Encrypt([]byte("k")); err == nil {
				t.Errorf("%s: encrypted without the SDK", c.name)
			}
		}
	}
}

// TestStandIn_hckmsID holds the one constructor that reading a file's metadata needs against the one of sops.
func TestStandIn_hckmsID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"r:u", " r : u ", "r", ":u", "r:", "", "r:u:v"} {
		want, wantErr := realhckms.NewMasterKey(id)
		got, err := hckms.NewMasterKey(id)
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%q: error %v, sops %v", id, err, wantErr)
			continue
		}
		if err == nil && (got.Region != want.Region || got.KeyUUID != want.KeyUUID || got.KeyID != want.KeyID) {
			t.Errorf("%q: %+v, sops %+v", id, got, want)
		}
	}
}
