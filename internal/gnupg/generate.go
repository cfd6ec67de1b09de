package gnupg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// KeyType names an algorithm of the keys that Generate makes.
type KeyType string

// The key types, spelled as users type them.
const (
	RSA        KeyType = "RSA"        // one RSA key of 3072 bits that signs and decrypts
	Curve25519 KeyType = "Curve25519" // an Ed25519 key with a Curve25519 subkey that decrypts
)

// parameters are the lines that describe each key type in gpg's unattended key generation, see
// "Unattended key generation" in the GnuPG manual. 3072 bits are gpg's own default for RSA since
// version 2.2.22.
func (t KeyType) parameters() (string, error) {
	switch t {
	case RSA:
		return "Key-Type: RSA\nKey-Length: 3072\n", nil
	case Curve25519:
		return "Key-Type: eddsa\nKey-Curve: Ed25519\nKey-Usage: sign\n" +
			"Subkey-Type: ecdh\nSubkey-Curve: Curve25519\nSubkey-Usage: encrypt\n", nil
	}
	return "", fmt.Errorf("unknown key type %q, known are %s and %s", string(t), RSA, Curve25519)
}

// Request says which key is wanted and where.
type Request struct {
	Hostname string  // user id of the key: HOSTNAME <root@HOSTNAME>
	Type     KeyType // algorithm
	Home     string  // gpg home directory that will be created
}

// Key is the public half of a key pair.
type Key struct {
	Fingerprint string // of the primary key, upper-case hexadecimal
	Public      []byte // armored
}

// hostnamePattern keeps line breaks and gpg's own syntax out of the parameters.
var hostnamePattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?$`)

// Check says what is wrong with the request itself, before anything is done. It looks at neither
// files nor programs.
func (r Request) Check() error {
	_, err := r.script()
	return err
}

// script is the input for gpg's unattended key generation.
func (r Request) script() (string, error) {
	var faults []error
	algorithm, err := r.Type.parameters()
	faults = append(faults, err)
	if !hostnamePattern.MatchString(r.Hostname) {
		faults = append(faults, fmt.Errorf("hostname %q: not 1 to 253 letters, digits, dots, hyphens and underscores", r.Hostname))
	}
	if r.Home == "" {
		faults = append(faults, errors.New("no gpg home directory given"))
	}
	if err := errors.Join(faults...); err != nil {
		return "", err
	}
	return "%no-protection\n" + algorithm +
		"Name-Real: " + r.Hostname + "\nName-Email: root@" + r.Hostname + "\nExpire-Date: 0\n%commit\n", nil
}

// Generate makes a key pair without passphrase in a new gpg home directory. The directory, mode
// 0700, appears under its name only when it is complete and on the disk; an existing file or
// directory of that name is an error and stays as it is. After a failure nothing that Generate made
// is left, no gpg-agent either. An end of ctx stops gpg.
func Generate(ctx context.Context, req Request) (key *Key, err error) {
	script, err := req.script()
	if err != nil {
		return nil, err
	}
	// Without gpgconf nobody could stop the agent that gpg starts.
	for _, program := range []string{"gpg", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	h, err := newHome(req.Home)
	if err != nil {
		return nil, fmt.Errorf("make gpg home %s: %w", req.Home, err)
	}
	defer func() {
		if cleanup := h.close(); cleanup != nil {
			err = errors.Join(err, fmt.Errorf("clean up after gpg: %w", cleanup))
		}
	}()
	if _, err := h.gpg(ctx, script, "--generate-key"); err != nil {
		return nil, err
	}
	fingerprint, err := h.fingerprint(ctx)
	if err != nil {
		return nil, err
	}
	public, err := h.gpg(ctx, "", "--armor", "--export", fingerprint)
	if err != nil {
		return nil, err
	}
	if err := h.publish(); err != nil {
		return nil, fmt.Errorf("make gpg home %s: %w", req.Home, err)
	}
	return &Key{fingerprint, public}, nil
}

// fingerprint reads the fingerprint of the only primary key in the home. The record format is
// described in doc/DETAILS of the GnuPG sources: the fingerprint is field 10 of the fpr record that
// follows the pub record; those of subkeys come later.
func (h *home) fingerprint(ctx context.Context) (string, error) {
	out, err := h.gpg(ctx, "", "--with-colons", "--fingerprint", "--list-keys")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 {
			return fields[9], nil
		}
	}
	return "", errors.New("gpg --list-keys: no key in the new home")
}
