package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// DefaultHostKey is the public key of the machine that this runs on, where OpenSSH and NixOS put it.
const DefaultHostKey = "/etc/ssh/ssh_host_ed25519_key.pub"

// findHost reads what the user gave: a public key as in recipient.Parse, or a file with public SSH keys, of which the first ed25519
// key counts, or else the first RSA key.
func findHost(key string) (recipient.Key, error) {
	host, err := recipient.Parse(key)
	switch {
	case err == nil:
		return host, nil
	case !errors.Is(err, recipient.ErrNone):
		return recipient.Key{}, fmt.Errorf("host key: %w", err)
	}
	data, err := os.ReadFile(key)
	if errors.Is(err, fs.ErrNotExist) && key == DefaultHostKey {
		return recipient.Key{}, cli.WithHint(err, "give the host's public SSH key, or a file that has it, with --host-key")
	} else if err != nil {
		return recipient.Key{}, err
	}
	return firstKey(key, string(data))
}

func firstKey(file, text string) (recipient.Key, error) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		return recipient.Key{}, cli.WithHint(fmt.Errorf("%s: this is a private key", file), "give the public one, "+file+".pub")
	}
	var found *sshkey.Public
	var faults []error
	for n, line := range sshkey.Lines(text) {
		switch {
		case line.Err != nil:
			faults = append(faults, fmt.Errorf("%s: line %d: %w", file, n, line.Err))
		case found == nil, found.AgeRecipient() == "" && line.Key.AgeRecipient() != "":
			found = &line.Key
		}
	}
	if found == nil {
		return recipient.Key{}, errors.Join(append(faults, fmt.Errorf("%s: no ed25519 and no RSA key", file))...)
	}
	return recipient.SSH(*found), nil
}
