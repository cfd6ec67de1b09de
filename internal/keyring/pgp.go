package keyring

import (
	"bytes"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// pgpKey is an SSH RSA key as an OpenPGP key.
type pgpKey struct {
	source string
	public *packet.PublicKey
	key    *sshkey.Private
}

// openPGP opens an OpenPGP message in process.
func (r *Ring) openPGP(s Sealed) ([]byte, string, error) {
	if len(r.pgp) == 0 {
		return nil, "", ErrNoMatch
	}
	block, err := armor.Decode(bytes.NewReader(s.Data))
	if err != nil {
		return nil, "", ErrDamaged
	}
	ring := &openPGPRing{keys: r.pgp}
	// Old versions of gpg leave the integrity code of a message away. A data key that was tampered
	// with does no harm: nothing can be decrypted with it, because all values of the file are
	// authenticated.
	limit := int64(maxDataKeyBytes) // of what a compressed message may unpack to
	config := &packet.Config{InsecureAllowUnauthenticatedMessages: true, MaxDecompressedMessageSize: &limit}
	message, err := openpgp.ReadMessage(block.Body, ring, nil, config)
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(message.UnverifiedBody, maxDataKeyBytes))
	}
	switch {
	case ring.broken != nil:
		return nil, "", ring.broken
	case err != nil && ring.used == "":
		return nil, "", r.noOpenPGPKey(s)
	case err != nil:
		return nil, "", notOpened(ring.used)
	case len(plain) == 0 || len(plain) == maxDataKeyBytes:
		return nil, "", ErrDamaged
	}
	return plain, ring.used, nil
}

// noOpenPGPKey is the error of a message that asks for no key. It is damaged where sops says that
// it is for one of these.
func (r *Ring) noOpenPGPKey(s Sealed) error {
	for _, k := range r.pgp {
		if k.key.PGPFingerprint() == Canonical(s.Recipient) {
			return notOpened(k.source)
		}
	}
	return ErrNoMatch
}

// openPGPRing gives out private keys, and takes one apart only when a message is encrypted for it.
type openPGPRing struct {
	keys   []pgpKey
	used   string // source of the key that was given out last
	broken error  // why a key that should fit could not be used
}

func (o *openPGPRing) private(k pgpKey) []openpgp.Key {
	private, err := k.key.OpenPGPPrivateKey()
	if err != nil {
		o.broken = fmt.Errorf("%s: %w", k.source, err)
		return nil
	}
	o.used = k.source
	return []openpgp.Key{{PublicKey: k.public, PrivateKey: private}}
}

// KeysById implements openpgp.KeyRing.
func (o *openPGPRing) KeysById(id uint64) []openpgp.Key {
	for _, k := range o.keys {
		if k.public.KeyId == id {
			return o.private(k)
		}
	}
	return nil
}

// KeysByIdUsage implements openpgp.KeyRing. It is asked for the keys of signatures, which sops
// files have none of.
func (o *openPGPRing) KeysByIdUsage(uint64, byte) []openpgp.Key { return nil }

// DecryptionKeys implements openpgp.KeyRing, for messages that do not say for whom they are.
func (o *openPGPRing) DecryptionKeys() []openpgp.Key {
	var all []openpgp.Key
	for _, k := range o.keys {
		all = append(all, o.private(k)...)
	}
	return all
}
