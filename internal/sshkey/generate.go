package sshkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Generate makes an ed25519 key. The private key is the content of a file as ssh-keygen writes it,
// without a passphrase.
func Generate(comment string) (private []byte, public Public, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, Public{}, fmt.Errorf("make an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, Public{}, fmt.Errorf("make an SSH key: %w", err)
	}
	private = pem.EncodeToMemory(block)
	parsed, err := Parse(private)
	if err != nil {
		return nil, Public{}, fmt.Errorf("make an SSH key: %w", err)
	}
	return private, parsed.Public, nil
}

// SHA256 is the fingerprint that ssh and ssh-keygen show.
func (p Public) SHA256() string { return ssh.FingerprintSHA256(p.key) }
