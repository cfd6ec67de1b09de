// Package recipient knows public keys of hosts, and under which names sops files are encrypted
// for them.
package recipient

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// Key is a public key.
type Key struct {
	text  string
	names []string // as sops files name it
	flag  string   // of sops, to encrypt for it
	add   string   // what that flag is given
}

// ErrNone is the error of Parse for a text that is no public key at all, not even a damaged
// one. It may be the name of a file.
var ErrNone = errors.New("not an age recipient, a public SSH key or an OpenPGP fingerprint of " +
	"40 digits")

var fingerprint = pattern.New(`^[0-9A-F]{40}$`)

// Parse reads an age recipient, a public SSH key as in a .pub file, or an OpenPGP fingerprint,
// with or without spaces.
func Parse(text string) (Key, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.Contains(text, "PRIVATE KEY") || strings.Contains(strings.ToUpper(text),
		"AGE-SECRET-KEY-"):
		// not a word of it
		return Key{}, errors.New("this is a private key, where the public one is wanted")
	case strings.HasPrefix(text, "age1"):
		if !isAge(text) {
			return Key{}, fmt.Errorf("%q is not an age recipient", text)
		}
		return Key{text, []string{text}, "--age", text}, nil
	case strings.HasPrefix(text, "ssh-"):
		public, err := sshkey.ParsePublic(text)
		if err != nil {
			return Key{}, fmt.Errorf("%q: %w", text, err)
		}
		return SSH(public), nil
	}
	if hex := strings.ToUpper(strings.ReplaceAll(text, " ", "")); fingerprint().MatchString(hex) {
		return Key{hex, []string{hex}, "--pgp", hex}, nil
	}
	return Key{}, fmt.Errorf("%q is %w", text, ErrNone)
}

// Find reads what a user gives for a host: a key as in Parse, a line of known_hosts, or the
// name of a file with public SSH keys, also as ssh-keyscan prints them. Ed25519 keys come
// first.
func Find(text string) ([]Key, error) {
	key, err := Parse(text)
	switch {
	case err == nil:
		return []Key{key}, nil
	case !errors.Is(err, ErrNone):
		return nil, err
	}
	if strings.Contains(text, " ssh-") {
		return list("host key", text)
	}
	data, err := os.ReadFile(text)
	if err != nil {
		return nil, err
	}
	return list(text, string(data))
}

func list(file, text string) ([]Key, error) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		return nil, cli.WithHint(fmt.Errorf("%s: this is a private key", file),
			"give the public one, "+file+".pub")
	}
	var found, others []Key
	var faults []error
	for n, line := range sshkey.Lines(text) {
		switch {
		case line.Err != nil:
			faults = append(faults, fmt.Errorf("%s: line %d: %w", file, n, line.Err))
		case line.Key.AgeRecipient() != "":
			found = append(found, SSH(line.Key))
		default:
			others = append(others, SSH(line.Key))
		}
	}
	if found = append(found, others...); len(found) == 0 {
		return nil, errors.Join(append(faults, fmt.Errorf("%s: no ed25519 and no RSA key", file))...)
	}
	return found, nil
}

// SSH is the key of a public SSH key. Sops is told its age recipient, where it has one, else
// the key itself, or its OpenPGP fingerprint where age refuses it.
func SSH(public sshkey.Public) Key {
	names := public.Recipients()
	k := Key{public.String(), names, "--age", names[0]}
	if fingerprint().MatchString(k.add) {
		k.flag = "--pgp"
	}
	return k
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

// Flag is the flag of sops, and its value, that makes it encrypt a file for the key.
func (k Key) Flag() (flag, value string) { return k.flag, k.add }

// Among says whether the key is one of the recipients of a file.
func (k Key) Among(recipients []sopsfile.Recipient) bool {
	return slices.ContainsFunc(recipients,
		func(r sopsfile.Recipient) bool { return slices.Contains(k.names, keyring.Canonical(r.ID)) })
}
