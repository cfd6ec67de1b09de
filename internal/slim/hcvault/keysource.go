// Package hcvault stands in for sops's package of the same name, without the client of HashiCorp Vault.
package hcvault

import (
	"errors"
	"fmt"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a transit key of a Vault server.
type MasterKey struct {
	VaultAddress string
	EnginePath   string
	KeyName      string
	EncryptedKey string
	CreationDate time.Time
}

// NewMasterKeysFromURIs makes no key: a new one cannot be used here.
func NewMasterKeysFromURIs(list string) ([]*MasterKey, error) {
	if list == "" {
		return nil, nil
	}
	return nil, errSlim
}

// NewMasterKeyFromURI makes no key: a new one cannot be used here.
func NewMasterKeyFromURI(string) (*MasterKey, error) { return nil, errSlim }

// ToString names the key as sops does: its URL.
func (key *MasterKey) ToString() string {
	return fmt.Sprintf("%s/v1/%s/keys/%s", key.VaultAddress, key.EnginePath, key.KeyName)
}

// ToMap is the key's metadata in a sops file.
func (key MasterKey) ToMap() map[string]any {
	return map[string]any{
		"vault_address": key.VaultAddress, "engine_path": key.EnginePath, "key_name": key.KeyName,
		"created_at": key.CreationDate.UTC().Format(time.RFC3339), "enc": key.EncryptedKey,
	}
}

// KeyTypeIdentifier is what sops calls this kind of key.
const KeyTypeIdentifier = "hc_vault"

// rotationAge is when sops advises to change the data key, the same for all kinds of keys: half a year.
const rotationAge = 6 * 30 * 24 * time.Hour

// errSlim is why this key can do nothing here.
var errSlim = errors.New("this program was built without HashiCorp Vault")

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
