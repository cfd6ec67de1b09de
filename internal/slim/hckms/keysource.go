// Package hckms stands in for sops's package of the same name, without the Huawei Cloud SDK.
package hckms

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a Huawei Cloud KMS key.
type MasterKey struct {
	KeyID        string
	Region       string
	KeyUUID      string
	EncryptedKey string
	CreationDate time.Time
}

// NewMasterKey makes a key without an encrypted data key from "region:uuid".
func NewMasterKey(id string) (*MasterKey, error) {
	region, uuid, _ := strings.Cut(strings.TrimSpace(id), ":")
	region, uuid = strings.TrimSpace(region), strings.TrimSpace(uuid)
	if region == "" || uuid == "" {
		return nil, fmt.Errorf("key %q is not of the form region:uuid", id)
	}
	return &MasterKey{KeyID: id, Region: region, KeyUUID: uuid, CreationDate: time.Now().UTC()}, nil
}

// NewMasterKeyFromKeyIDString makes a key of each of a comma separated list.
func NewMasterKeyFromKeyIDString(list string) ([]*MasterKey, error) {
	var all []*MasterKey
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id == "" {
			continue
		}
		key, err := NewMasterKey(id)
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string { return key.KeyID }

// ToMap is the key's metadata in a sops file.
func (key MasterKey) ToMap() map[string]any {
	return map[string]any{"key_id": key.KeyID, "created_at": key.CreationDate.UTC().Format(time.RFC3339), "enc": key.EncryptedKey}
}

// KeyTypeIdentifier is what sops calls this kind of key.
const KeyTypeIdentifier = "hckms"

// rotationAge is when sops advises to change the data key, the same for all kinds of keys: half a year.
const rotationAge = 6 * 30 * 24 * time.Hour

// errSlim is why this key can do nothing here.
var errSlim = errors.New("this program was built without Huawei Cloud KMS")

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
