package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"filippo.io/age"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/pattern"
	"sops-initrd/internal/sopsfile"
	"sops-initrd/internal/sshkey"
)

// DefaultHostKey is the public key of the machine that this runs on, where OpenSSH and NixOS put it.
const DefaultHostKey = "/etc/ssh/ssh_host_ed25519_key.pub"

// host is the machine that has to decrypt the file.
type host struct {
	flag string   // of sops, to add it as a recipient
	add  string   // the recipient to add
	any  []string // all names under which a file can be encrypted for it
}

var pgpFingerprint = pattern.New(`^[0-9A-Fa-f]{40}$`)

// findHost reads what the user gave: an age recipient, a public SSH key, an OpenPGP fingerprint, or a file with public SSH
// keys, of which the first ed25519 key counts, or else the first RSA key.
func findHost(key string) (host, error) {
	switch {
	case pgpFingerprint().MatchString(key):
		return host{"--pgp", key, []string{strings.ToUpper(key)}}, nil
	case strings.HasPrefix(key, "age1"):
		if _, err := age.ParseX25519Recipient(key); err != nil {
			if _, err := age.ParseHybridRecipient(key); err != nil {
				return host{}, fmt.Errorf("host key %q is not an age recipient", key)
			}
		}
		return host{"--age", key, []string{key}}, nil
	case strings.HasPrefix(key, "ssh-"):
		return firstKey("the host key given", key)
	}
	data, err := os.ReadFile(key)
	if errors.Is(err, fs.ErrNotExist) && key == DefaultHostKey {
		return host{}, cli.WithHint(err, "give the host's public SSH key, or a file that has it, with --host-key")
	} else if err != nil {
		return host{}, err
	}
	return firstKey(key, string(data))
}

func firstKey(source, text string) (host, error) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		return host{}, cli.WithHint(fmt.Errorf("%s: this is a private key", source), "give the public one, "+source+".pub")
	}
	var found *sshkey.Public
	var faults []error
	for n, line := range sshkey.Lines(text) {
		switch {
		case line.Err != nil:
			faults = append(faults, fmt.Errorf("%s: line %d: %w", source, n, line.Err))
		case found == nil, found.AgeRecipient() == "" && line.Key.AgeRecipient() != "":
			found = &line.Key
		}
	}
	if found == nil {
		return host{}, errors.Join(append(faults, fmt.Errorf("%s: no ed25519 and no RSA key", source))...)
	}
	add := found.AgeRecipient()
	if add == "" {
		add = found.String()
	}
	return host{"--age", add, found.Recipients()}, nil
}

// among says whether the host is one of the recipients.
func (h host) among(recipients []sopsfile.Recipient) bool {
	return slices.ContainsFunc(recipients, func(r sopsfile.Recipient) bool {
		return slices.ContainsFunc(h.any, func(name string) bool { return strings.EqualFold(r.ID, name) })
	})
}
