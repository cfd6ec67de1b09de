package sshkey

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	"filippo.io/age/plugin"
	"filippo.io/edwards25519"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// Public is the public half of an SSH key.
type Public struct{ key ssh.PublicKey }

// ParsePublic reads a public key as it stands in a .pub file: type, base64 and, perhaps, a comment.
func ParsePublic(line string) (Public, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Public{}, errors.New("not an SSH public key")
	}
	return newPublic(key)
}

func newPublic(key ssh.PublicKey) (Public, error) {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoRSA:
		return Public{key}, nil
	}
	return Public{}, &TypeError{key.Type()}
}

// Type is the name of the algorithm: "ssh-ed25519" or "ssh-rsa".
func (p Public) Type() string { return p.key.Type() }

// String is the key as it stands in a .pub file, without a comment. As an age recipient it stands
// for the raw key.
func (p Public) String() string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(p.key)), "\n")
}

func (p Public) crypto() crypto.PublicKey {
	if k, ok := p.key.(ssh.CryptoPublicKey); ok {
		return k.CryptoPublicKey()
	}
	return nil
}

// AgeRecipient is the recipient ("age1…") of an ed25519 key's conversion to X25519, and empty for
// other keys.
func (p Public) AgeRecipient() string {
	key, ok := p.crypto().(ed25519.PublicKey)
	if !ok {
		return ""
	}
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return "" // no point of the curve: no message can be encrypted to it either
	}
	return x25519Recipient(point.BytesMontgomery())
}

func x25519Recipient(key []byte) string {
	public, err := ecdh.X25519().NewPublicKey(key)
	if err != nil {
		return ""
	}
	recipient, err := plugin.EncodeX25519Recipient(public)
	if err != nil {
		return ""
	}
	return recipient
}

// OpenPGPKey is an RSA key as an OpenPGP public key, and nil for other keys.
func (p Public) OpenPGPKey() *packet.PublicKey {
	key, ok := p.crypto().(*rsa.PublicKey)
	if !ok {
		return nil
	}
	return packet.NewRSAPublicKey(creation(), key)
}

// PGPFingerprint is the fingerprint of OpenPGPKey in upper-case hexadecimal digits, and empty for
// keys that are not RSA.
func (p Public) PGPFingerprint() string {
	if key := p.OpenPGPKey(); key != nil {
		return fmt.Sprintf("%X", key.Fingerprint)
	}
	return ""
}

// minAgeRSABits is what an RSA key needs at least to be an age recipient (filippo.io/age/agessh).
// OpenPGP takes smaller ones.
const minAgeRSABits = 2048

// Recipients are all the names under which a sops file can be encrypted for the key: age recipients
// first, then the OpenPGP fingerprint.
func (p Public) Recipients() []string {
	raw := p.String()
	if key, ok := p.crypto().(*rsa.PublicKey); ok && key.N.BitLen() < minAgeRSABits {
		raw = ""
	}
	var all []string
	for _, r := range []string{p.AgeRecipient(), raw, p.PGPFingerprint()} {
		if r != "" {
			all = append(all, r)
		}
	}
	return all
}

// creation is the creation time of the OpenPGP keys, which is part of what a fingerprint is made
// from.
func creation() time.Time { return time.Unix(0, 0) }
