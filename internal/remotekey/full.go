//go:build !slim

package remotekey

import (
	"context"

	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
)

// Small says whether this is a small program.
const Small = false

// Decrypt asks the service that has a master key for the data key. Sops's clients do not all end
// with ctx.
func Decrypt(ctx context.Context, key keys.MasterKey) ([]byte, error) {
	named := keyservice.KeyFromMasterKey(key)
	answer, err := keyservice.NewLocalClient().Decrypt(ctx,
		&keyservice.DecryptRequest{Key: &named, Ciphertext: key.EncryptedDataKey()})
	if err != nil {
		return nil, err
	}
	return answer.Plaintext, nil
}
