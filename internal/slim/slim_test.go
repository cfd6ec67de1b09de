package slim_test

import (
	"testing"

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
	for _, c := range []struct {
		name       string
		ours, real keys.MasterKey
	}{
		{
			"kms",
			&kms.MasterKey{Arn: "arn:aws:kms:eu:1:key/k", EncryptedKey: "e"},
			&realkms.MasterKey{Arn: "arn:aws:kms:eu:1:key/k", EncryptedKey: "e"},
		},
		{
			"kms with role and context",
			&kms.MasterKey{Arn: "arn:k", Role: "arn:r", EncryptedKey: "e", EncryptionContext: context},
			&realkms.MasterKey{Arn: "arn:k", Role: "arn:r", EncryptedKey: "e", EncryptionContext: context},
		},
		{
			"kms with profile",
			&kms.MasterKey{Arn: "arn:k", EncryptedKey: "e", AwsProfile: "p"},
			&realkms.MasterKey{Arn: "arn:k", EncryptedKey: "e", AwsProfile: "p"},
		},
		{
			"gcpkms",
			&gcpkms.MasterKey{ResourceID: "projects/p", EncryptedKey: "e"},
			&realgcpkms.MasterKey{ResourceID: "projects/p", EncryptedKey: "e"},
		},
		{
			"azkv",
			&azkv.MasterKey{VaultURL: "https://v", Name: "n", Version: "1", EncryptedKey: "e"},
			&realazkv.MasterKey{VaultURL: "https://v", Name: "n", Version: "1", EncryptedKey: "e"},
		},
		{
			"hcvault",
			&hcvault.MasterKey{VaultAddress: "https://v", EnginePath: "transit", KeyName: "k", EncryptedKey: "e"},
			&realhcvault.MasterKey{VaultAddress: "https://v", EnginePath: "transit", KeyName: "k", EncryptedKey: "e"},
		},
		{
			"hckms",
			&hckms.MasterKey{KeyID: "r:u", EncryptedKey: "e"},
			&realhckms.MasterKey{KeyID: "r:u", Region: "r", KeyUUID: "u", EncryptedKey: "e"},
		},
	} {
		type seen struct{ Name, Type, Encrypted string }
		look := func(k keys.MasterKey) seen {
			return seen{k.ToString(), k.TypeToIdentifier(), string(k.EncryptedDataKey())}
		}
		if diff := cmp.Diff(look(c.real), look(c.ours)); diff != "" {
			t.Errorf("%s (-sops +stand-in):\n%s", c.name, diff)
		}
	}
}

// TestStandIn_hckmsID holds the one constructor that reading a file's metadata needs against the
// one of sops.
func TestStandIn_hckmsID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"r:u", " r : u ", "r", ":u", "r:", "", "r:u:v"} {
		want, wantErr := realhckms.NewMasterKey(id)
		got, err := hckms.NewMasterKey(id)
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%q: error %v, sops %v", id, err, wantErr)
			continue
		}
		if err == nil && got.KeyID != want.KeyID {
			t.Errorf("%q: %+v, sops %+v", id, got, want)
		}
	}
}
