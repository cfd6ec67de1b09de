//go:build !slim

package remotekey

import (
	"context"

	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
)

type inProcess struct{ client keyservice.LocalClient }

func (p inProcess) Decrypt(ctx context.Context, key keys.MasterKey) ([]byte, error) {
	named := keyservice.KeyFromMasterKey(key)
	answer, err := p.client.Decrypt(ctx, &keyservice.DecryptRequest{Key: &named, Ciphertext: key.EncryptedDataKey()})
	if err != nil {
		return nil, err
	}
	return answer.Plaintext, nil
}

func (inProcess) Close() error { return nil }

// New returns a client that uses sops's own clients in this process.
func New(func(string) string) Client { return inProcess{keyservice.NewLocalClient()} }

// Available says why no key outside this host can be asked for here, as far as that shows without asking.
func Available(func(string) string) error { return nil }
