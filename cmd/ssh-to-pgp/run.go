package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/keytool"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

const (
	program            = "ssh-to-pgp"
	passphraseVariable = "SSH_TO_PGP_PASSPHRASE"
)

const usage = `usage: ssh-to-pgp [-private-key] [-stdinpass] [-i FILE] [-o FILE] [-format FORMAT]
                  [-name NAME] [-comment COMMENT] [-email EMAIL]

Convert an RSA private SSH key to an OpenPGP public key or, with -private-key, private key. The fingerprint goes to standard
error. Public SSH keys as input (.pub files, known_hosts, ssh-keyscan) give keys whose user id is not signed: gpg takes
them only with the line allow-non-selfsigned-uid in its gpg.conf.

options:
  -private-key       give the OpenPGP private key, without a passphrase
  -i FILE            read from FILE (default: "-", standard input)
  -o FILE            write to FILE, mode 0600, which must not exist (default: "-", standard output)
  -format FORMAT     armor (default) or binary
  -name NAME         name in the user id (default: root)
  -comment COMMENT   comment in the user id (default: Imported from SSH)
  -email EMAIL       address in the user id (default: root@localhost)
  -stdinpass         read the passphrase of the SSH key from standard input; otherwise it is
                     taken from SSH_TO_PGP_PASSPHRASE, if set
  -version           print the version and exit
  -h, -help          print this text and exit

examples:
  ssh-to-pgp -i /etc/ssh/ssh_host_rsa_key -o server01.asc
  ssh-to-pgp -private-key -i ~/.ssh/id_rsa | gpg --import --quiet
  ssh-keyscan -t rsa server01 | ssh-to-pgp -o server01.asc
`

type options struct {
	keytool.Conversion
	format string
	user   sshkey.UserID
}

func newFlags(o *options) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	o.Define(f)
	f.StringVar(&o.format, "format", "armor", "")
	f.StringVar(&o.user.Name, "name", "root", "")
	f.StringVar(&o.user.Comment, "comment", "Imported from SSH", "")
	f.StringVar(&o.user.Email, "email", "root@localhost", "")
	return f
}

func (o *options) check() error {
	faults := []error{o.Check(), o.user.Check()}
	if o.format != "armor" && o.format != "binary" {
		faults = append(faults, fmt.Errorf("unknown format %q, known are armor and binary", o.format))
	}
	return errors.Join(faults...)
}

func run(e cli.Env) int {
	var o options
	f := newFlags(&o)
	if done, status := keytool.Start(e, f, usage); done {
		return status
	}
	if err := o.check(); err != nil {
		return keytool.Misuse(e, f, err)
	}
	return cli.Report(e, program, convert(e, &o))
}

// converted is the outcome: OpenPGP keys one after the other, and their fingerprints.
type converted struct {
	keys         [][]byte
	fingerprints []string
	unsigned     bool
}

func (c *converted) add(key []byte, public sshkey.Public) {
	c.keys = append(c.keys, key)
	c.fingerprints = append(c.fingerprints, strings.ToLower(public.PGPFingerprint()))
}

func convert(e cli.Env, o *options) error {
	input, passphrase, err := o.Read(e, passphraseVariable)
	if err != nil {
		return err
	}
	var c *converted
	if o.Private || bytes.Contains(input, []byte("-----BEGIN ")) {
		c, err = fromPrivate(o, input, passphrase)
	} else {
		c, err = fromPublic(e, o, string(input))
	}
	if err != nil {
		return o.Explain(err, passphraseVariable)
	}
	result, err := o.encode(c.keys)
	if err != nil {
		return err
	}
	if err := o.Write(e, result); err != nil {
		return err
	}
	if c.unsigned {
		cli.Warn(e, program, "a public key cannot sign its user id: gpg takes it only with the line "+
			"allow-non-selfsigned-uid in gpg.conf; or convert the private key on its machine")
	}
	for _, fingerprint := range c.fingerprints {
		if _, err := fmt.Fprintln(e.Stderr, fingerprint); err != nil {
			return err
		}
	}
	return nil
}

func fromPrivate(o *options, input, passphrase []byte) (*converted, error) {
	key, err := sshkey.ParseWithPassphrase(input, passphrase)
	if err != nil {
		return nil, err
	}
	if key.PGPFingerprint() == "" {
		return nil, notConvertible(key.Type())
	}
	data, err := key.OpenPGP(o.user, o.Private)
	if err != nil {
		return nil, err
	}
	c := new(converted)
	c.add(data, key.Public)
	return c, nil
}

// fromPublic converts a list of public keys. One damaged line spoils the list: whoever pipes it
// into a file must not get a part of it.
func fromPublic(e cli.Env, o *options, input string) (*converted, error) {
	c := &converted{unsigned: true}
	var faults []error
	for n, line := range sshkey.Lines(input) {
		unfit := new(sshkey.TypeError)
		switch {
		case errors.As(line.Err, &unfit):
			cli.Warn(e, program, "line %d: skipped: %v", n, notConvertible(unfit.Type))
			continue
		case line.Err != nil:
			faults = append(faults, fmt.Errorf("line %d: %w", n, line.Err))
			continue
		case line.Key.PGPFingerprint() == "":
			cli.Warn(e, program, "line %d: skipped: %v", n, notConvertible(line.Key.Type()))
			continue
		}
		data, err := line.Key.UnsignedOpenPGP(o.user)
		if err != nil {
			return nil, err
		}
		c.add(data, line.Key)
	}
	if len(faults) == 0 && len(c.keys) == 0 {
		faults = append(faults, cli.WithHint(errors.New("no RSA key"), "ssh-to-age converts ed25519 keys"))
	}
	return c, errors.Join(faults...)
}

func notConvertible(keyType string) error {
	return fmt.Errorf("%s keys cannot be converted to OpenPGP keys (only RSA keys can)", keyType)
}

// encode writes the keys in the wanted format. gpg reads several blocks one after the other.
func (o *options) encode(keys [][]byte) ([]byte, error) {
	if o.format == "binary" {
		return bytes.Join(keys, nil), nil
	}
	blockType := "PGP PUBLIC KEY BLOCK"
	if o.Private {
		blockType = "PGP PRIVATE KEY BLOCK"
	}
	var out bytes.Buffer
	for _, key := range keys {
		w, err := armor.Encode(&out, blockType, nil)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(key); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}
