// Package hcvault stands in for sops's package of the same name, without the client of HashiCorp
// Vault.
package hcvault

import (
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a transit key of a Vault server.
type MasterKey struct {
	keys.MasterKey // nil: methods that are never called here

	VaultAddress string
	EnginePath   string
	KeyName      string
	EncryptedKey string
	CreationDate time.Time
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string {
	return key.VaultAddress + "/v1/" + key.EnginePath + "/keys/" + key.KeyName
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// TypeToIdentifier is what sops calls this kind of key.
func (key *MasterKey) TypeToIdentifier() string { return "hc_vault" }
