package recipient_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func TestAmong(t *testing.T) {
	t.Parallel()
	ed, rsa := testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA2048)
	public := func(line string) sshkey.Public {
		t.Helper()
		p, err := sshkey.ParsePublic(line)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	age := testkeys.Public(t, testkeys.Age)
	for name, c := range map[string]struct {
		host, file string
		want       bool
	}{
		"age recipient":         {age, age, true},
		"another age recipient": {testkeys.Public(t, testkeys.AgeOther), age, false},
		"post-quantum recipient": {testkeys.Public(t, testkeys.AgePQ), testkeys.Public(t,
			testkeys.AgePQ), true},
		"ed25519 key, file for the key":     {ed, public(ed).String(), true},
		"ed25519 key, file for its age key": {ed + " root@host", public(ed).AgeRecipient(), true},
		"age key of it, file for the key":   {public(ed).AgeRecipient(), public(ed).String(), false},
		"RSA key, file for the key":         {rsa, public(rsa).String(), true},
		"RSA key, file for its OpenPGP key": {rsa, public(rsa).PGPFingerprint(), true},
		"ed25519 key, file with a comment":  {ed, ed + " root@host", true},
		"fingerprint, of just that subkey": {testkeys.GPGRSAFingerprint, testkeys.GPGRSAFingerprint +
			"!", true},
		"RSA key, file for another": {rsa, testkeys.GPGRSAFingerprint, false},
		"fingerprint": {
			testkeys.GPGRSAFingerprint, testkeys.GPGRSAFingerprint,
			true,
		},
		"fingerprint, in small letters": {
			strings.ToLower(testkeys.GPGRSAFingerprint),
			testkeys.GPGRSAFingerprint, true,
		},
		"fingerprint, as gpg prints it": {
			"ACB4 9280 9054 3B8B 3456  8E92 C4BF F35F 5197 F52B",
			testkeys.GPGRSAFingerprint, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := recipient.Parse(c.host)
			if err != nil {
				t.Fatal(err)
			}
			file := []sopsfile.Recipient{{Type: "kms", ID: "arn:aws:kms:x"}, {Type: "age", ID: c.file}}
			if got := k.Among(file); got != c.want {
				t.Errorf("%s among recipients with %s: %v", k, c.file, got)
			}
		})
	}
}

// A private key that is given by mistake is not quoted.
func TestParse_private(t *testing.T) {
	t.Parallel()
	ssh := string(testkeys.Data(t, testkeys.SSHEd25519))
	for _, text := range []string{ssh, "age-secret-key-1qqq", "AGE-SECRET-KEY-1QQQ", ssh[:60]} {
		_, err := recipient.Parse(text)
		if err == nil || errors.Is(err, recipient.ErrNone) || !strings.Contains(err.Error(),
			"private key") || len(err.Error()) > 70 {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestParse_faults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "is not an age recipient, a public SSH key or an " +
			"OpenPGP fingerprint",
		"/etc/ssh/key.pub": "is not an age recipient, a public SSH key or an " +
			"OpenPGP fingerprint",
		"age1damaged":      "is not an age recipient",
		"ssh-ed25519 AAAA": "not an SSH public key",
		"ACB4928090543B8B34568E": "is not an age recipient, a public SSH key or an " +
			"OpenPGP fingerprint",
		testkeys.Public(t, testkeys.SSHECDSA): "is not an age recipient, a public SSH key or an " +
			"OpenPGP fingerprint",
	} {
		_, err := recipient.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q", text, err, want)
		}
	}
}

// age refuses RSA keys of less than 2048 bits, so that sops is told their OpenPGP fingerprint.
func TestSSH_smallRSA(t *testing.T) {
	t.Parallel()
	const key = "ssh-rsa " +
		"AAAAB3NzaC1yc2EAAAADAQABAAAAgQD4m7wb0Drk/N452G8Giuxe7OmwP6ati8YtKPzooBspyARfc98VFG9N39npwue9XdYKxGD7AqAnRSPNT4/rzaqz+xg8M2aEM9JhNpl+gj8+fOBsCfv1nOT0cB27Us9gm7zdtsV0LdYylixbCDqHbXVDJ1u1ypCG7/sqZuunJQPHFw=="
	const fingerprint = "E851D17643E228C34CD92EA7F3CC948C63069A8E"
	k, err := recipient.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	if flag, value := k.Flag(); flag != "--pgp" || value != fingerprint {
		t.Errorf("%s %s", flag, value)
	}
	if !k.Among([]sopsfile.Recipient{{Type: "pgp", ID: fingerprint}}) {
		t.Error("not among its own")
	}
}
