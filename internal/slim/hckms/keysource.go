// Package hckms stands in for sops's package of the same name, without the Huawei Cloud SDK.
package hckms

import (
	"errors"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of a Huawei Cloud KMS key.
type MasterKey struct {
	keys.MasterKey // nil: methods that are never called here

	KeyID        string
	EncryptedKey string
	CreationDate time.Time
}

// NewMasterKey makes a key without an encrypted data key from "region:uuid".
func NewMasterKey(id string) (*MasterKey, error) {
	region, uuid, _ := strings.Cut(id, ":")
	if strings.TrimSpace(region) == "" || strings.TrimSpace(uuid) == "" {
		return nil, errors.New("not of the form region:uuid")
	}
	return &MasterKey{KeyID: id}, nil
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string {
	return key.KeyID
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// TypeToIdentifier is what sops calls this kind of key.
func (key *MasterKey) TypeToIdentifier() string { return "hckms" }
