package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age/armor"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// body is what is in an armored message.
func body(t *testing.T, s Sealed) []byte {
	t.Helper()
	var r io.Reader = armor.NewReader(bytes.NewReader(s.Data))
	if s.Type == "pgp" {
		block, err := pgparmor.Decode(bytes.NewReader(s.Data))
		if err != nil {
			t.Fatal(err)
		}
		r = block.Body
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// with is the message with another content.
func (s Sealed) with(content []byte) Sealed {
	kind := "AGE ENCRYPTED FILE"
	blank := ""
	if s.Type == "pgp" {
		kind, blank = "PGP MESSAGE", "\n"
	}
	var b strings.Builder
	b.WriteString("-----BEGIN " + kind + "-----\n" + blank)
	for text := base64.StdEncoding.EncodeToString(content); text != ""; {
		n := min(64, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	b.WriteString("-----END " + kind + "-----\n")
	s.Data = []byte(b.String())
	return s
}

// A data key that its own key does not open is damaged, whatever was changed in it: it is never
// taken for one of which the key is missing.
func TestMemory_damaged(t *testing.T) {
	t.Parallel()
	keys := manifest.KeySources{
		AgeKeyFile:     testkeys.Path(t, testkeys.Age),
		AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHEd25519)},
		SSHKeyPaths:    []string{testkeys.Path(t, testkeys.SSHRSA2048)},
	}
	home := testkeys.GPGHome(t, testkeys.SSHRSA2048, testkeys.GPGRSA)
	rsa := fingerprint(t, testkeys.SSHRSA2048)
	for _, c := range []struct{ name, recipient, named string }{
		{"age", testkeys.Public(t, testkeys.Age), ""},
		{"post-quantum", testkeys.Public(t, testkeys.AgePQ), ""},
		{"ed25519", testkeys.Public(t, testkeys.SSHEd25519), ""},
		{"ed25519 with a comment", testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHEd25519) + " me@here"},
		{"ed25519 converted", converted(t, testkeys.SSHEd25519), ""},
		{"RSA", testkeys.Public(t, testkeys.SSHRSA2048), ""},
		{"OpenPGP", rsa, ""},
		{"OpenPGP in small letters", rsa, strings.ToLower(rsa) + "!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := keys
			if c.name == "post-quantum" {
				keys.AgeKeyFile = testkeys.Path(t, testkeys.AgePQ)
			}
			r := ring(t, Config{Keys: keys})
			var good, foreign Sealed
			if strings.HasPrefix(c.name, "OpenPGP") {
				good = sealPGP(t, home, "data key", "-r", c.recipient)
				foreign = sealPGP(t, home, "data key", "-r", testkeys.GPGRSAFingerprint)
			} else {
				good = sealAge(t, c.recipient, "data key")
				foreign = sealAge(t, testkeys.Public(t, testkeys.AgeOther), "data key")
			}
			good.Recipient, foreign.Recipient = c.recipient, c.recipient
			if c.named != "" {
				good.Recipient, foreign.Recipient = c.named, c.named
			}
			content := body(t, good)
			if got, _, err := r.Memory(good.with(content)); err != nil || string(got) != "data key" {
				t.Fatalf("%q, %v", got, err)
			}
			if _, _, err := r.Memory(foreign); !errors.Is(err, ErrDamaged) {
				t.Errorf("another's message: %v", err)
			}
			step := max(1, len(content)/60) // RSA takes its time
			for i := 0; i < len(content); i += step {
				flipped := bytes.Clone(content)
				flipped[i] ^= 4
				for what, changed := range map[string][]byte{"flipped": flipped, "cut": content[:i]} {
					if _, _, err := r.Memory(good.with(changed)); err != nil && !errors.Is(err, ErrDamaged) {
						t.Errorf("byte %d %s: %v", i, what, err)
					}
				}
			}
		})
	}
}

// gpg says whether it has the key and dislikes the message: that is damage. A passphrase that
// nobody types is none.
func TestPrograms_gpgDamaged(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t, testkeys.GPGRSA, testkeys.SSHRSA2048)
	good := sealPGP(t, home, "data key", "-r", testkeys.GPGRSAFingerprint)
	foreign := sealPGP(t, home, "data key", "-r", fingerprint(t, testkeys.SSHRSA2048))
	good.Recipient, foreign.Recipient = testkeys.GPGRSAFingerprint, testkeys.GPGRSAFingerprint
	r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: testkeys.GPGHome(t, testkeys.GPGRSA)}})
	content := body(t, good)
	change := func(at int) Sealed {
		changed := bytes.Clone(content)
		changed[at] ^= 4
		return good.with(changed)
	}
	for _, c := range []struct {
		name   string
		sealed Sealed
	}{
		{"of another key", foreign},
		{"key ID changed", change(6)},
		{"session key changed", change(100)},
		{"end changed", change(len(content) - 5)},
		{"cut off", good.with(content[:len(content)-20])},
		{"no packets", good.with([]byte("POISON POISON"))},
		{"no armor", Sealed{"pgp", testkeys.GPGRSAFingerprint, []byte("POISON")}},
	} {
		_, _, err := r.Programs(context.Background(), c.sealed)
		if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "GNUPG:") || strings.Contains(err.Error(), "POISON") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, _, err := r.Programs(context.Background(), good); err != nil || string(got) != "data key" {
		t.Errorf("%q, %v", got, err)
	}
}
