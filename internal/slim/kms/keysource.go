// Package kms stands in for sops's package of the same name, without the AWS SDK.
package kms

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// MasterKey is the metadata of an AWS KMS key.
type MasterKey struct {
	Arn               string
	Role              string
	EncryptedKey      string
	CreationDate      time.Time
	EncryptionContext map[string]*string
	AwsProfile        string
}

// NewMasterKeyWithProfile makes a key without an encrypted data key.
func NewMasterKeyWithProfile(arn, role string, context map[string]*string, awsProfile string) *MasterKey {
	return &MasterKey{Arn: arn, Role: role, EncryptionContext: context, AwsProfile: awsProfile, CreationDate: time.Now().UTC()}
}

// MasterKeysFromArnString makes a key of each ARN of a comma separated list. "ARN+ARN" names a key and the role to use it.
func MasterKeysFromArnString(list string, context map[string]*string, awsProfile string) []*MasterKey {
	var all []*MasterKey
	for arn := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		arn, role, found := strings.Cut(strings.ReplaceAll(arn, " ", ""), "+arn:")
		if found {
			role = "arn:" + role
		}
		all = append(all, NewMasterKeyWithProfile(arn, role, context, awsProfile))
	}
	return all
}

// ToString names the key as sops does: ARN, role, context, profile.
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

// ToMap is the key's metadata in a sops file.
func (key MasterKey) ToMap() map[string]any {
	m := map[string]any{"arn": key.Arn, "created_at": key.CreationDate.UTC().Format(time.RFC3339), "enc": key.EncryptedKey}
	if key.Role != "" {
		m["role"] = key.Role
	}
	if key.EncryptionContext != nil {
		context := make(map[string]string, len(key.EncryptionContext))
		for k, v := range key.EncryptionContext {
			context[k] = *v
		}
		m["context"] = context
	}
	return m
}

// KeyTypeIdentifier is what sops calls this kind of key.
const KeyTypeIdentifier = "kms"

// rotationAge is when sops advises to change the data key, the same for all kinds of keys: half a year.
const rotationAge = 6 * 30 * 24 * time.Hour

// errSlim is why this key can do nothing here.
var errSlim = errors.New("this program was built without AWS KMS")

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
