package sshkey_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// FuzzLines: no input makes Lines panic, what it accepts is a key that it reads again, and no error
// repeats a part of the line, which may be a private key that lost its first line.
func FuzzLines(f *testing.F) {
	ed, rsa := testkeys.Public(f, testkeys.SSHEd25519), testkeys.Public(f, testkeys.SSHRSA2048)
	f.Add("# comment\n" + ed + " a@b\nserver01 " + rsa + "\n")
	f.Add(`from="*.example.org",command="a \"b\"" ` + ed)
	f.Add("|1|vQ1mQ2eBBnh8wbYiZ4b8kMxCVJQ=|kz8iOgr5PHfM0mnyd6l6yFvPXjA= " + ed)
	f.Add("@revoked * " + ed)
	f.Add(testkeys.Public(f, testkeys.SSHECDSA))
	f.Add(string(testkeys.Data(f, testkeys.SSHEd25519)))
	f.Add(strings.Repeat("no key\n", 10_000) + strings.Repeat("\"", 10_000))
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		for n, line := range sshkey.Lines(text) {
			if line.Err == nil {
				again, err := sshkey.ParsePublic(line.Key.String())
				if err != nil || again.String() != line.Key.String() {
					t.Errorf("line %d: %q is not read again: %v", n, line.Key, err)
				}
				continue
			}
			source, message := lines[n-1], line.Err.Error()
			if unfit := new(sshkey.TypeError); errors.As(line.Err, &unfit) {
				message = strings.ReplaceAll(message, unfit.Type, "") // a name of the algorithm that the key itself repeats
			}
			for i := 0; i+16 <= len(source); i++ {
				if part := source[i : i+16]; strings.Contains(message, part) && !strings.Contains(known, part) {
					t.Fatalf("line %d: %q is in the error %q", n, part, line.Err)
				}
			}
		}
	})
}

// known are words of the messages that an input may have by chance.
const known = "keys cannot decrypt (only ed25519 and RSA keys can) not an SSH public key " +
	"a key that is marked with @ in known_hosts is no host's key"

func TestLines(t *testing.T) {
	t.Parallel()
	ed, rsa := testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA2048)
	var got []string
	for n, line := range sshkey.Lines("\n# c\nhost " + ed + "\n\nx y z\n" + rsa + " c\n" + testkeys.Public(t, testkeys.SSHECDSA)) {
		text := line.Key
		switch {
		case line.Err != nil:
			got = append(got, strings.Repeat(".", n)+line.Err.Error())
		default:
			got = append(got, strings.Repeat(".", n)+text.String())
		}
	}
	want := []string{
		"..." + ed, ".....not an SSH public key", "......" + rsa,
		".......ecdsa-sha2-nistp256 keys cannot decrypt (only ed25519 and RSA keys can)",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
