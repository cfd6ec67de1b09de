package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// ErrPassphrase means that a private key is protected by a passphrase.
var ErrPassphrase = errors.New("the key has a passphrase")

// Private is an SSH private key. Its private half is taken apart only when it is asked for: that of
// an RSA key costs several milliseconds.
type Private struct {
	Public
	raw func() (any, error)
}

// Parse reads an SSH private key in any of the formats of ssh-keygen. A key with a passphrase is
// ErrPassphrase.
func Parse(data []byte) (*Private, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		if _, err := ParsePublic(string(data)); err == nil {
			return nil, errors.New("this is a public key, not a private one")
		}
		return nil, errors.New("not an SSH private key")
	}
	public, err := publicHalf(block)
	if err != nil {
		return nil, err
	}
	return &Private{public, sync.OnceValues(func() (any, error) { return parseRaw(data) })}, nil
}

// publicHalf finds the public key without taking the private one apart, where the format allows it.
func publicHalf(block *pem.Block) (Public, error) {
	switch {
	case block.Type == "OPENSSH PRIVATE KEY":
		return openSSHPublic(block.Bytes)
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"), block.Type == "ENCRYPTED PRIVATE KEY":
		return Public{}, ErrPassphrase
	case block.Type == "RSA PRIVATE KEY":
		return pkcs1Public(block.Bytes)
	}
	raw, err := parseRaw(pem.EncodeToMemory(block))
	if err != nil {
		return Public{}, err
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return Public{}, errors.New("not an SSH private key of a known type")
	}
	return newPublic(signer.PublicKey())
}

// openSSHPublic reads the part of a key file that is never encrypted (openssh, PROTOCOL.key).
func openSSHPublic(data []byte) (Public, error) {
	rest, ok := bytes.CutPrefix(data, []byte("openssh-key-v1\x00"))
	if !ok {
		return Public{}, errors.New("malformed OpenSSH private key")
	}
	var head struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Rest                    []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(rest, &head); err != nil {
		return Public{}, errors.New("malformed OpenSSH private key")
	}
	key, err := ssh.ParsePublicKey(head.Public)
	if err != nil {
		return Public{}, errors.New("malformed OpenSSH private key")
	}
	public, err := newPublic(key)
	if err == nil && head.Cipher != "none" {
		return Public{}, ErrPassphrase
	}
	return public, err
}

// pkcs1Public reads the public numbers of a PKCS #1 private key, which are its first two.
func pkcs1Public(data []byte) (Public, error) {
	var numbers []asn1.RawValue
	n, e, version := new(big.Int), 0, 0
	_, err := asn1.Unmarshal(data, &numbers)
	if err == nil && len(numbers) >= 9 {
		for i, into := range []any{&version, &n, &e} {
			if _, err = asn1.Unmarshal(numbers[i].FullBytes, into); err != nil {
				break
			}
		}
	}
	if err != nil || len(numbers) < 9 || n.Sign() <= 0 {
		return Public{}, errors.New("malformed RSA private key")
	}
	key, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: e})
	if err != nil {
		return Public{}, errors.New("malformed RSA private key")
	}
	return newPublic(key)
}

// parseRaw takes the private key apart. The errors of the packages below are replaced: nobody
// promises what is in them.
func parseRaw(data []byte) (any, error) {
	key, err := ssh.ParseRawPrivateKey(data)
	var passphrase *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &passphrase), errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrPassphrase
	case err != nil:
		return nil, errors.New("malformed SSH private key")
	}
	if k, ok := key.(*ed25519.PrivateKey); ok {
		return *k, nil
	}
	return key, nil
}

// AgeSecretKey is the age identity ("AGE-SECRET-KEY-1…") that an ed25519 key is converted to. The
// conversion is that of Ed25519 keys to X25519 (RFC 8032, 5.1.5: the hash of the seed, of which
// X25519 uses the first half).
func (k *Private) AgeSecretKey() (string, error) {
	raw, err := k.raw()
	if err != nil {
		return "", err
	}
	key, ok := raw.(ed25519.PrivateKey)
	if !ok {
		return "", fmt.Errorf("%s keys cannot be converted to age keys (only ed25519 keys can)", k.Type())
	}
	hash := sha512.Sum512(key.Seed())
	scalar := hash[:32]
	return strings.ToUpper(encodeBech32("age-secret-key-", scalar)), nil
}

// AgeIdentities are all the age identities that the key is.
func (k *Private) AgeIdentities() ([]age.Identity, error) {
	if k.Type() == ssh.KeyAlgoRSA {
		return []age.Identity{&lazyRSA{k}}, nil
	}
	secret, err := k.AgeSecretKey()
	if err != nil {
		return nil, err
	}
	converted, err := age.ParseX25519Identity(secret)
	if err != nil {
		return nil, errors.New("malformed ed25519 private key")
	}
	key, err := k.raw()
	if err != nil {
		return nil, err
	}
	raw, err := agessh.NewEd25519Identity(key.(ed25519.PrivateKey)) // AgeSecretKey has seen that it is one
	if err != nil {
		return nil, errors.New("malformed ed25519 private key")
	}
	return []age.Identity{converted, raw}, nil
}

// lazyRSA takes its private key apart only when a file has a recipient of its type.
type lazyRSA struct{ key *Private }

// Unwrap implements age.Identity.
func (l *lazyRSA) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != ssh.KeyAlgoRSA || len(s.Args) == 0 || s.Args[0] != l.key.stanzaTag() {
			continue
		}
		key, err := l.key.rsa()
		if err != nil {
			return nil, err
		}
		identity, err := agessh.NewRSAIdentity(key)
		if err != nil {
			return nil, errors.New("malformed RSA private key")
		}
		return identity.Unwrap(stanzas)
	}
	return nil, age.ErrIncorrectIdentity
}

// stanzaTag is what age writes into a file to say for which SSH key it is (age's agessh package).
func (p Public) stanzaTag() string {
	hash := sha256.Sum256(p.key.Marshal())
	return base64.RawStdEncoding.EncodeToString(hash[:4])
}

func (k *Private) rsa() (*rsa.PrivateKey, error) {
	raw, err := k.raw()
	if err != nil {
		return nil, err
	}
	key, ok := raw.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s keys are not RSA keys", k.Type())
	}
	return key, nil
}

// OpenPGPPrivateKey is an RSA key as an OpenPGP private key, which is not encrypted.
func (k *Private) OpenPGPPrivateKey() (*packet.PrivateKey, error) {
	key, err := k.rsa()
	if err != nil {
		return nil, err
	}
	return packet.NewRSAPrivateKey(creation(), key), nil
}
