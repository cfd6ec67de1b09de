package sshkey

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// The age keys were made from the SSH keys by ssh-to-age 1.3.0, the fingerprints by the conversion
// of Mic92/sops-nix.
func TestParse_agreesWithOtherPrograms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, algorithm, age, secret, pgp string }{
		{testkeys.SSHEd25519, "ssh-ed25519", "age1hkpxawruxazyyrd7l2wt5rxs07pum6t9qcszve6q2ykxvv5n356s3ghqzk", "AGE-SECRET-KEY-1F6NVPJ8AGA2FAUS6QNRU7JE0TZJ8DS5HQ9PMZUTWZ36JHEA9TZ8Q2GUEKH", ""},
		{testkeys.SSHEd25519Other, "ssh-ed25519", "age1hpql9pujpzd3hkkqefazlz5760ulj52y3tl7ufgtrkp0sujsxeyqna0pga", "AGE-SECRET-KEY-1YGY4C39YMN4V2NVTML9YP0P2KRC7VJVPWLE3K8HAXC9G4DVYEX2SU7DMHT", ""},
		{testkeys.SSHRSA2048, "ssh-rsa", "", "", "2999768FD0F53E41D733D886B5DE33903C05675C"},
		{testkeys.SSHRSA4096, "ssh-rsa", "", "", "BCEC1216F0A18664A7B288CD1050F7A7FB338ECA"},
		{testkeys.SSHRSA8192, "ssh-rsa", "", "", "9D979810C76817B85967525D8D90848BF6BA9B01"},
		{testkeys.SSHRSAPEM, "ssh-rsa", "", "", "559D899CA1A992625F3F64541616C158CB2DA097"},
		{testkeys.SSHRSAPKCS8, "ssh-rsa", "", "", "E2DB5DF69D6CB2BB74187195350B050CF8283769"},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			key, err := Parse(testkeys.Data(t, c.key))
			if err != nil {
				t.Fatal(err)
			}
			public := testkeys.Public(t, c.key)
			var recipients []string
			for _, r := range []string{c.age, public, c.pgp} {
				if r != "" {
					recipients = append(recipients, r)
				}
			}
			if got := fmt.Sprint(key.Type(), key.AgeRecipient(), key.String(), key.PGPFingerprint(), key.Recipients()); got != fmt.Sprint(c.algorithm, c.age, public, c.pgp, recipients) {
				t.Errorf("got %s", got)
			}
			if secret, err := key.AgeSecretKey(); secret != c.secret || (err == nil) != (c.secret != "") {
				t.Errorf("age secret key is %q, %v", secret, err)
			}
			fromLine, err := ParsePublic(public + " a comment\n")
			if err != nil || fmt.Sprint(fromLine.Recipients()) != fmt.Sprint(recipients) {
				t.Errorf("the public key is %v, %v", fromLine, err)
			}
		})
	}
}

func TestParse_faults(t *testing.T) {
	t.Parallel()
	damaged, _ := pem.Decode(testkeys.Data(t, testkeys.SSHEd25519))
	for i := 100; i < 200; i++ {
		damaged.Bytes[i]++
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not an SSH private key"},
		{"text", "hello", "not an SSH private key"},
		{"public", testkeys.Public(t, testkeys.SSHEd25519), "this is a public key, not a private one"},
		{"passphrase", string(testkeys.Data(t, testkeys.SSHEd25519Passphrase)), "the key has a passphrase"},
		{"PEM with passphrase", string(testkeys.Data(t, testkeys.SSHRSAPEMPassphrase)), "the key has a passphrase"},
		{"PKCS #8 with passphrase", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "the key has a passphrase"},
		{"ECDSA", string(testkeys.Data(t, testkeys.SSHECDSA)), "ecdsa-sha2-nistp256 keys cannot decrypt (only ed25519 and RSA keys can)"},
		{"cut", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n", "malformed OpenSSH private key"},
		{"other magic", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "malformed OpenSSH private key"},
		{"no RSA key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "malformed RSA private key"},
		{"age key", string(testkeys.Data(t, testkeys.Age)), "not an SSH private key"},
		{"certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "malformed SSH private key"},
		{"private half damaged", string(pem.EncodeToMemory(damaged)), "malformed SSH private key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, err := Parse([]byte(c.text))
			if err == nil {
				_, err = key.AgeIdentities()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if strings.HasSuffix(c.name, "passphrase") != errors.Is(err, ErrPassphrase) {
				t.Errorf("ErrPassphrase: %v", errors.Is(err, ErrPassphrase))
			}
		})
	}
	if _, err := ParsePublic("ssh-ed25519 AAAA"); err == nil {
		t.Error("a broken public key is taken")
	}
	if _, err := ParsePublic(testkeys.Public(t, testkeys.SSHECDSA)); err == nil {
		t.Error("an ECDSA public key is taken")
	}
}

// Each identity opens what was encrypted for its recipient, and nothing else: two identities are
// needed for one key.
func TestAgeIdentities(t *testing.T) {
	t.Parallel()
	for _, name := range []string{testkeys.SSHEd25519, testkeys.SSHRSA2048, testkeys.SSHRSA4096, testkeys.SSHRSAPEM, testkeys.SSHRSAPKCS8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := Parse(testkeys.Data(t, name))
			if err != nil {
				t.Fatal(err)
			}
			var recipients []age.Recipient
			if converted, err := age.ParseX25519Recipient(key.AgeRecipient()); err == nil {
				recipients = append(recipients, converted)
			}
			raw, err := agessh.ParseRecipient(key.String())
			if err != nil {
				t.Fatal(err)
			}
			recipients = append(recipients, raw)
			identities, err := key.AgeIdentities()
			if err != nil || len(identities) != len(recipients) {
				t.Fatalf("%d identities for %d recipients, %v", len(identities), len(recipients), err)
			}
			for i, r := range recipients {
				for j, id := range identities {
					text := encryptAge(t, r)
					opened, err := age.Decrypt(bytes.NewReader(text), id)
					if (err == nil) != (i == j) {
						t.Errorf("identity %d for recipient %d: %v", j, i, err)
					}
					if err == nil {
						if plain, err := io.ReadAll(opened); err != nil || string(plain) != "plain" {
							t.Errorf("opened to %q, %v", plain, err)
						}
					}
				}
			}
		})
	}
}

func encryptAge(t *testing.T, r age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err == nil {
		_, err = w.Write([]byte("plain"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An RSA key is expensive to take apart, and hosts have one that they do not use.
func TestAgeIdentities_RSAOnlyWhenNeeded(t *testing.T) {
	t.Parallel()
	taken := 0
	key, err := Parse(testkeys.Data(t, testkeys.SSHRSA2048))
	if err != nil {
		t.Fatal(err)
	}
	raw := key.raw
	key.raw = func() (any, error) { taken++; return raw() }
	identities, err := key.AgeIdentities()
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA4096)} {
		r, err := agessh.ParseRecipient(other)
		if err != nil {
			t.Fatal(err)
		}
		var noMatch *age.NoIdentityMatchError
		if _, err := age.Decrypt(bytes.NewReader(encryptAge(t, r)), identities...); !errors.As(err, &noMatch) {
			t.Errorf("error is %v", err)
		}
	}
	if taken != 0 {
		t.Errorf("the private key was taken apart %d times for files of others", taken)
	}
	own, err := agessh.ParseRecipient(key.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Decrypt(bytes.NewReader(encryptAge(t, own)), identities...); err != nil || taken != 1 {
		t.Errorf("%v, taken apart %d times", err, taken)
	}
}

func TestOpenPGPPrivateKey(t *testing.T) {
	t.Parallel()
	key, err := Parse(testkeys.Data(t, testkeys.SSHRSAPEM))
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.OpenPGPPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%X", private.Fingerprint); got != key.PGPFingerprint() {
		t.Errorf("fingerprint %s, of the public half %s", got, key.PGPFingerprint())
	}
	var message bytes.Buffer
	if err := packet.SerializeEncryptedKeyAEAD(&message, key.OpenPGPKey(), packet.CipherAES256, false, make([]byte, 32), nil); err != nil {
		t.Fatal(err)
	}
	p, err := packet.Read(&message)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.(*packet.EncryptedKey).Decrypt(private, nil); err != nil {
		t.Error(err)
	}
	ed25519, err := Parse(testkeys.Data(t, testkeys.SSHEd25519))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ed25519.OpenPGPPrivateKey(); err == nil || ed25519.OpenPGPKey() != nil {
		t.Error("an ed25519 key passes for an OpenPGP key")
	}
}

// The encoder agrees with age's own, which takes no secret keys.
func TestEncodeBech32(t *testing.T) {
	t.Parallel()
	for range 200 {
		data := make([]byte, 32)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		secret := strings.ToUpper(encodeBech32("age-secret-key-", data))
		parsed, err := age.ParseX25519Identity(secret)
		if err != nil || parsed.String() != secret {
			t.Fatalf("%q is read as %v, %v", secret, parsed, err)
		}
	}
	// BIP 173 has these as valid strings.
	for _, c := range []struct {
		prefix string
		data   []byte
		want   string
	}{
		{"a", nil, "a12uel5l"},
		{"split", []byte{0xc5, 0xf3, 0x8b, 0x70, 0x30, 0x5f, 0x51, 0x9b, 0xf6, 0x6d, 0x85, 0xfb, 0x6c, 0xf0, 0x30, 0x58, 0xf3, 0xdd, 0xe4, 0x63, 0xec, 0xd7, 0x91, 0x8f, 0x2d, 0xc7, 0x43, 0x91, 0x8f, 0x2d}, "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"},
	} {
		if got := encodeBech32(c.prefix, c.data); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Whatever stands in a key file: no panic, and no error that quotes it.
func FuzzParse(f *testing.F) {
	for _, name := range []string{testkeys.SSHEd25519, testkeys.SSHRSA2048, testkeys.SSHRSAPEM, testkeys.SSHECDSA, testkeys.SSHEd25519Passphrase, testkeys.SSHRSAPEMPassphrase} {
		f.Add(testkeys.Data(f, name))
		f.Add(bytes.ReplaceAll(testkeys.Data(f, name), []byte("\n"), []byte("\r\n")))
	}
	// Lengths of gigabytes in the format of OpenSSH, behind its magic.
	claims := append([]byte("openssh-key-v1\x00"), bytes.Repeat([]byte{0xff}, 60)...)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: claims}))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := Parse(data)
		if err == nil {
			_, err = key.AgeIdentities()
			key.Recipients()
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	})
}
