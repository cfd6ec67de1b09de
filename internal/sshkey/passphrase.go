package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// ErrWrongPassphrase means that a passphrase does not open the key.
var ErrWrongPassphrase = errors.New("the passphrase does not fit the key")

// ParseWithPassphrase is Parse for keys that may have a passphrase. For a key without one the
// passphrase is not used.
func ParseWithPassphrase(data, passphrase []byte) (*Private, error) {
	key, err := Parse(data)
	if !errors.Is(err, ErrPassphrase) || len(passphrase) == 0 {
		return key, err
	}
	if err := knownCipher(data); err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKeyWithPassphrase(data, passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrWrongPassphrase
	case err != nil: // its text is not shown: nobody promises what is in it
		return nil, errors.New("malformed SSH private key, or of a format that cannot be decrypted")
	}
	if k, ok := raw.(*ed25519.PrivateKey); ok {
		raw = *k
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return nil, errors.New("not an SSH private key of a known type")
	}
	public, err := newPublic(signer.PublicKey())
	if err != nil {
		return nil, err
	}
	return &Private{public, func() (any, error) { return raw, nil }}, nil
}

// knownCipher is an error for what golang.org/x/crypto/ssh cannot decrypt: ciphers of OpenSSH's
// format other than those two (its keys.go), and PKCS #8 with encryption.
func knownCipher(data []byte) error {
	block, _ := pem.Decode(data)
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return errors.New("encrypted PKCS #8 keys cannot be read")
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok {
		return nil
	}
	var head struct {
		Cipher string
		Rest   []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(rest, &head); err != nil {
		return errors.New("malformed OpenSSH private key")
	}
	if c := head.Cipher; c != "aes256-ctr" && c != "aes256-cbc" {
		return fmt.Errorf("keys encrypted with %q cannot be read (only aes256-ctr and aes256-cbc can)", c)
	}
	return nil
}
