package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/keytool"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

const (
	program            = "ssh-to-age"
	passphraseVariable = "SSH_TO_AGE_PASSPHRASE"
)

const usage = `usage: ssh-to-age [-private-key [-stdinpass]] [-i FILE] [-o FILE]

Convert ed25519 SSH keys to age keys. Public keys become recipients (age1...), one line each; the input may be a .pub file,
known_hosts or what ssh-keyscan and "ssh-add -L" print. Keys of other types are skipped. A private key as input gives its
recipient or, with -private-key, its age identity (AGE-SECRET-KEY-1...).

options:
  -private-key     convert a private key to an age identity
  -i FILE          read from FILE (default: "-", standard input)
  -o FILE          write to FILE, mode 0600, which must not exist (default: "-", standard output)
  -stdinpass       read the passphrase of the private key from standard input; otherwise it is
                   taken from SSH_TO_AGE_PASSPHRASE, if set
  -version         print the version and exit
  -h, -help        print this text and exit

examples:
  ssh-keyscan server01 | ssh-to-age
  ssh-to-age -private-key -i ~/.ssh/id_ed25519 -o ~/.config/sops/age/keys.txt
`

func newFlags(c *keytool.Conversion) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	c.Define(f)
	return f
}

func run(e cli.Env) int {
	var c keytool.Conversion
	f := newFlags(&c)
	if done, status := keytool.Start(e, f, usage); done {
		return status
	}
	if err := c.Check(); err != nil {
		return keytool.Misuse(e, f, err)
	}
	return cli.Report(e, program, convert(e, &c))
}

func convert(e cli.Env, c *keytool.Conversion) error {
	input, passphrase, err := c.Read(e, passphraseVariable)
	if err != nil {
		return err
	}
	var result string
	switch {
	case c.Private:
		result, err = identity(input, passphrase)
	case strings.Contains(string(input), "-----BEGIN "):
		result, err = recipientOfPrivate(input, passphrase)
	default:
		result, err = recipients(e, string(input))
	}
	if err != nil {
		return c.Explain(err, passphraseVariable)
	}
	return c.Write(e, []byte(result))
}

func identity(input, passphrase []byte) (string, error) {
	key, err := sshkey.ParseWithPassphrase(input, passphrase)
	if err != nil {
		return "", err
	}
	secret, err := key.AgeSecretKey()
	return secret + "\n", err
}

func recipientOfPrivate(input, passphrase []byte) (string, error) {
	key, err := sshkey.ParseWithPassphrase(input, passphrase)
	if err != nil {
		return "", err
	}
	recipient := key.AgeRecipient()
	if recipient == "" {
		return "", notConvertible(key.Public)
	}
	return recipient + "\n", nil
}

// recipients converts a list of public keys. One damaged line spoils the list: whoever pipes it
// into a file must not get a part of it.
func recipients(e cli.Env, input string) (string, error) {
	var result strings.Builder
	var faults []error
	var hints []string
	for n, line := range sshkey.Lines(input) {
		recipient, unfit := line.Key.AgeRecipient(), new(sshkey.TypeError)
		switch {
		case errors.As(line.Err, &unfit):
			cli.Warn(e, program, "line %d: skipped: %v", n, line.Err)
		case line.Err != nil:
			faults = append(faults, fmt.Errorf("line %d: %w", n, line.Err))
		case recipient == "":
			cli.Warn(e, program, "line %d: skipped: %v", n, notConvertible(line.Key))
			if slices.Contains(line.Key.Recipients(), line.Key.String()) {
				hints = []string{"sops and age take the line of an RSA key as a recipient as it is"}
			}
		default:
			result.WriteString(recipient + "\n")
		}
	}
	if len(faults) == 0 && result.Len() == 0 {
		return "", cli.WithHint(errors.New("no ed25519 key"), hints...)
	}
	return result.String(), errors.Join(faults...)
}

func notConvertible(key sshkey.Public) error {
	return fmt.Errorf("%s keys cannot be converted to age keys (only ed25519 keys can)", key.Type())
}
