// Package gcpkms stands in for sops's package of the same name, without the Google Cloud SDK.
package gcpkms

import (
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a Google Cloud KMS key.
type MasterKey struct {
	keys.MasterKey // nil: methods that are never called here

	ResourceID   string
	EncryptedKey string
	CreationDate time.Time
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string {
	return key.ResourceID
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// TypeToIdentifier is what sops calls this kind of key.
func (key *MasterKey) TypeToIdentifier() string { return "gcp_kms" }
