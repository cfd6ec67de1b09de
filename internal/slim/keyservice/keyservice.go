// Package keyservice stands in for sops's package of the same name, without gRPC and protocol
// buffers, whose descriptors take a third of a program's start. Sops's root package names these
// types; what it would call is never called here.
package keyservice

import (
	"context"

	"github.com/getsops/sops/v3/keys"
)

// Key names a master key.
type Key struct{}

// EncryptRequest asks for a data key to be encrypted.
type EncryptRequest struct {
	Key       *Key
	Plaintext []byte
}

// EncryptResponse has the encrypted data key.
type EncryptResponse struct{ Ciphertext []byte }

// DecryptRequest asks for a data key to be decrypted.
type DecryptRequest struct {
	Key        *Key
	Ciphertext []byte
}

// DecryptResponse has the data key.
type DecryptResponse struct{ Plaintext []byte }

// KeyServiceClient is a key service.
//
//nolint:revive // the name is that of sops
type KeyServiceClient interface {
	Encrypt(context.Context, *EncryptRequest) (*EncryptResponse, error)
	Decrypt(context.Context, *DecryptRequest) (*DecryptResponse, error)
}

// NewLocalClient returns no service.
func NewLocalClient() KeyServiceClient { return nil }

// KeyFromMasterKey tells nothing of the key.
func KeyFromMasterKey(keys.MasterKey) Key { return Key{} }
