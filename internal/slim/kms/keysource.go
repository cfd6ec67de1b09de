// Package kms stands in for sops's package of the same name, without the AWS SDK.
package kms

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of an AWS KMS key.
type MasterKey struct {
	keys.MasterKey // nil: methods that are never called here

	Arn               string
	Role              string
	EncryptionContext map[string]*string
	AwsProfile        string
	EncryptedKey      string
	CreationDate      time.Time
}

// ToString names the key as sops does.
func (key *MasterKey) ToString() string {
	name := key.Arn
	if key.Role != "" {
		name += "+" + key.Role
	}
	var context []string
	for _, k := range slices.Sorted(maps.Keys(key.EncryptionContext)) {
		context = append(context, k+":"+*key.EncryptionContext[k])
	}
	if len(context) > 0 || key.AwsProfile != "" {
		name += "|" + strings.Join(context, ",")
	}
	if key.AwsProfile != "" {
		name += "|" + key.AwsProfile
	}
	return name
}

// EncryptedDataKey returns the data key as it stands in the file.
func (key *MasterKey) EncryptedDataKey() []byte { return []byte(key.EncryptedKey) }

// TypeToIdentifier is what sops calls this kind of key.
func (key *MasterKey) TypeToIdentifier() string { return "kms" }
