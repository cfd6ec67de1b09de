// Package recipient knows public keys of hosts, and under which names sops files are encrypted for them.
package recipient

import (
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"sops-initrd/internal/pattern"
	"sops-initrd/internal/sopsfile"
	"sops-initrd/internal/sshkey"
)

// Key is a public key.
type Key struct {
	text  string
	names []string // as sops files name it
}

var fingerprint = pattern.New(`^[0-9A-F]{40}$`)

// Parse reads an age recipient, a public SSH key as in a .pub file, or an OpenPGP fingerprint, with or without spaces.
func Parse(text string) (Key, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "age1"):
		if !isAge(text) {
			return Key{}, fmt.Errorf("%q is not an age recipient", text)
		}
		return Key{text, []string{text}}, nil
	case strings.HasPrefix(text, "ssh-"):
		public, err := sshkey.ParsePublic(text)
		if err != nil {
			return Key{}, fmt.Errorf("%q: %w", text, err)
		}
		return Key{public.String(), public.Recipients()}, nil
	}
	if hex := strings.ToUpper(strings.ReplaceAll(text, " ", "")); fingerprint().MatchString(hex) {
		return Key{hex, []string{hex}}, nil
	}
	return Key{}, fmt.Errorf("%q is not an age recipient, a public SSH key or an OpenPGP fingerprint of 40 digits", text)
}

func isAge(text string) bool {
	if _, err := age.ParseX25519Recipient(text); err == nil {
		return true
	}
	if _, err := age.ParseHybridRecipient(text); err == nil {
		return true
	}
	_, _, err := plugin.ParseRecipient(text)
	return err == nil
}

func (k Key) String() string { return k.text }

// Among says whether the key is one of the recipients of a file.
func (k Key) Among(recipients []sopsfile.Recipient) bool {
	return slices.ContainsFunc(recipients, func(r sopsfile.Recipient) bool { return slices.Contains(k.names, normal(r.ID)) })
}

// normal is how a file's name of a recipient is written here: an SSH key without its comment, a fingerprint in capitals, and
// without the mark that tells gpg to use just that key.
func normal(id string) string {
	if strings.HasPrefix(id, "ssh-") {
		if public, err := sshkey.ParsePublic(id); err == nil {
			return public.String()
		}
	}
	if hex := strings.ToUpper(strings.TrimSuffix(strings.ReplaceAll(id, " ", ""), "!")); fingerprint().MatchString(hex) {
		return hex
	}
	return id
}
