package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// maxDataKeyBytes bounds what a data key may unpack to; sops's have 32 bytes, parts of a split one
// 33.
const maxDataKeyBytes = 4096

// Sealed is a data key (or a part of one) of a sops file, encrypted for one recipient.
type Sealed struct {
	// Type is "age" or "pgp".
	Type string
	// Recipient is the age recipient or the OpenPGP fingerprint.
	Recipient string
	// Data is an armored age file or OpenPGP message.
	Data []byte
}

// Memory opens a data key with the keys that need no program. It returns the source of the key that
// fitted. ErrNoMatch means that no key fits; other errors mean that the data key or a key that
// should fit is broken.
func (r *Ring) Memory(s Sealed) (dataKey []byte, source string, err error) {
	if s.Type == "pgp" {
		return r.openPGP(s)
	}
	return openAge(s, r.memory)
}

// Programs opens a data key with the help of programs: plugins of age, commands that print keys,
// gpg. Each is waited for no longer than the timeout of the ring.
func (r *Ring) Programs(ctx context.Context, s Sealed) (dataKey []byte, source string, err error) {
	r.programs.Lock()
	defer r.programs.Unlock()
	if s.Type == "pgp" {
		if r.gpg == nil {
			return nil, "", ErrNoMatch
		}
		return r.gpg.open(ctx, r, s)
	}
	dataKey, source, err = r.openWithPlugins(ctx, s, r.plugins)
	for _, c := range r.commands {
		if err == nil || ctx.Err() != nil {
			break
		}
		memory, plugins, cmdErr := c.keys(ctx, r, s.Recipient)
		if cmdErr != nil {
			r.skip(c.variable, cmdErr.Error())
			continue
		}
		var next error
		if dataKey, source, next = openAge(s, memory); next != nil {
			dataKey, source, next = r.openWithPlugins(ctx, s, plugins)
		}
		if next == nil || !errors.Is(next, ErrNoMatch) {
			err = next
		}
	}
	return dataKey, source, err
}

func openAge(s Sealed, keys []ageKey) ([]byte, string, error) {
	var broken error
	for _, k := range keys {
		data, err := decryptAge(s.Data, k.identity)
		if err == nil {
			return data, k.source, nil
		}
		if broken == nil && !errors.Is(err, ErrNoMatch) {
			broken = fmt.Errorf("%s: %w", k.source, err)
		}
	}
	if broken != nil {
		return nil, "", broken
	}
	// A stanza of age's own kind does not say for whom it is, so that a changed one looks like that
	// of another: the metadata of sops say it.
	for _, k := range keys {
		if slices.Contains(k.recipients, Canonical(s.Recipient)) {
			return nil, "", notOpened(k.source)
		}
	}
	return nil, "", ErrNoMatch
}

// notOpened is the error of a data key that a key does not open though it is encrypted for it.
func notOpened(source string) error {
	return fmt.Errorf("%w: the key that it is encrypted for, of %s, does not open it", ErrDamaged, source)
}

// openPGPName is an OpenPGP fingerprint.
var openPGPName = pattern.New(`^[0-9A-F]{40,64}$`)

// Canonical is how a sops file's name of a recipient is written in Identity: an SSH key without its
// comment, a fingerprint in capitals, without the mark that tells gpg to use just that key.
func Canonical(recipient string) string {
	if strings.HasPrefix(recipient, "ssh-") {
		if public, err := sshkey.ParsePublic(recipient); err == nil {
			return public.String()
		}
	}
	hex := strings.ToUpper(strings.TrimSuffix(strings.ReplaceAll(recipient, " ", ""), "!"))
	if openPGPName().MatchString(hex) {
		return hex
	}
	return recipient
}

// openWithPlugins asks plugins, those of the recipient's own type first: their identities often fit
// recipients that do not name them (a token that holds an SSH key).
func (r *Ring) openWithPlugins(ctx context.Context, s Sealed, keys []ageKey) ([]byte, string, error) {
	name, _, _ := plugin.ParseRecipient(s.Recipient)
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b ageKey) int {
		return boolOrder(a.identity.(*plugin.Identity).Name() == name) - boolOrder(b.identity.(*plugin.Identity).Name() == name)
	})
	broken := ErrNoMatch
	for _, k := range keys {
		name := k.identity.(*plugin.Identity).Name()
		data, err := limited(ctx, r, "age-plugin-"+name, func(left time.Duration) ([]byte, error) {
			return askPlugin(ctx, left, "age-plugin-"+name, func() ([]byte, error) {
				return decryptAge(s.Data, k.identity)
			})
		})
		if err == nil {
			return data, k.source, nil
		}
		if errors.Is(broken, ErrNoMatch) && !errors.Is(err, ErrNoMatch) {
			broken = fmt.Errorf("%s: %w", k.source, err)
		}
	}
	return nil, "", broken
}

// boolOrder sorts what is true before what is false.
func boolOrder(b bool) int {
	if b {
		return 0
	}
	return 1
}

// decryptAge opens an armored age file. The errors of package age are replaced where they may quote
// what they read.
func decryptAge(data []byte, identity age.Identity) ([]byte, error) {
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), identity)
	var noMatch *age.NoIdentityMatchError
	var notFound *plugin.NotFoundError
	switch {
	case errors.As(err, &noMatch):
		return nil, ErrNoMatch
	case errors.As(err, &notFound):
		return nil, fmt.Errorf("age-plugin-%s is not in PATH", notFound.Name)
	case err != nil:
		if p, ok := identity.(*plugin.Identity); ok {
			return nil, fmt.Errorf("age-plugin-%s: %s", p.Name(), Quiet(strings.ReplaceAll(err.Error(), p.String(), "…")))
		}
		return nil, ErrDamaged
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxDataKeyBytes))
	if err != nil || len(plain) == maxDataKeyBytes {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Quiet makes one short printable line of what a program says.
func Quiet(text string) string {
	const maxRunes = 300
	text = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))), " ")
	if runes := []rune(text); len(runes) > maxRunes {
		text = string(runes[:maxRunes]) + "…"
	}
	return text
}
