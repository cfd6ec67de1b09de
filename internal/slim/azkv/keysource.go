// Package azkv stands in for sops's package of the same name, without the Azure SDK.
package azkv

import (
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of an Azure Key Vault key.
type MasterKey struct {
	keys.MasterKey // nil: methods that are never called here

	VaultURL     string
	Name         string
	Version      string
	EncryptedKey string
	CreationDate time.Time
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string {
	return key.VaultURL + "/keys/" + key.Name + "/" + key.Version
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// TypeToIdentifier is what sops calls this kind of key.
func (key *MasterKey) TypeToIdentifier() string { return "azure_kv" }
