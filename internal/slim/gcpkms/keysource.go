// Package gcpkms stands in for sops's package of the same name, without the Google Cloud SDK.
package gcpkms

import (
	"errors"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a Google Cloud KMS key.
type MasterKey struct {
	ResourceID   string
	EncryptedKey string
	CreationDate time.Time
}

// NewMasterKeyFromResourceID makes a key without an encrypted data key.
func NewMasterKeyFromResourceID(id string) *MasterKey {
	return &MasterKey{ResourceID: strings.ReplaceAll(id, " ", ""), CreationDate: time.Now().UTC()}
}

// MasterKeysFromResourceIDString makes a key of each of a comma separated list.
func MasterKeysFromResourceIDString(list string) []*MasterKey {
	var all []*MasterKey
	for id := range strings.SplitSeq(list, ",") {
		if list != "" {
			all = append(all, NewMasterKeyFromResourceID(id))
		}
	}
	return all
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string { return key.ResourceID }

// ToMap is the key's metadata in a sops file.
func (key MasterKey) ToMap() map[string]any {
	return map[string]any{"resource_id": key.ResourceID, "created_at": key.CreationDate.UTC().Format(time.RFC3339), "enc": key.EncryptedKey}
}

// KeyTypeIdentifier is what sops calls this kind of key.
const KeyTypeIdentifier = "gcp_kms"

// rotationAge is when sops advises to change the data key, the same for all kinds of keys: half a year.
const rotationAge = 6 * 30 * 24 * time.Hour

// errSlim is why this key can do nothing here.
var errSlim = errors.New("this program was built without Google Cloud KMS")

var _ keys.MasterKey = (*MasterKey)(nil)

// Encrypt always fails.
func (key *MasterKey) Encrypt([]byte) error { return errSlim }

// EncryptIfNeeded fails where there is no encrypted data key yet.
func (key *MasterKey) EncryptIfNeeded([]byte) error {
	if key.EncryptedKey == "" {
		return errSlim
	}
	return nil
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// SetEncryptedDataKey takes the data key as it stands in the file.
func (key *MasterKey) SetEncryptedDataKey(encrypted []byte) { key.EncryptedKey = string(encrypted) }

// Decrypt always fails.
func (key *MasterKey) Decrypt() ([]byte, error) { return nil, errSlim }

// NeedsRotation says whether the data key is older than sops advises.
func (key *MasterKey) NeedsRotation() bool { return time.Since(key.CreationDate) > rotationAge }

// TypeToIdentifier returns KeyTypeIdentifier.
func (key *MasterKey) TypeToIdentifier() string { return KeyTypeIdentifier }
