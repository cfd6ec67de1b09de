package testkeys

import (
	"fmt"
	"strings"
	"testing"
)

func TestLeak(t *testing.T) {
	t.Parallel()
	key := string(Data(t, SSHEd25519))
	lines := strings.Split(key, "\n")
	for name, c := range map[string]struct {
		text string
		leak bool
	}{
		"nothing":     {"ssh-to-age: error: standard input: malformed SSH private key", false},
		"whole":       {key, true},
		"quoted":      {fmt.Sprintf("cannot read %q", key), true},
		"a few bytes": {"near " + lines[3][10:26], true},
		"wrapped":     {lines[2][60:] + "\n  " + lines[3][:8], true},
		"other key":   {string(Data(t, SSHRSAPEM)), false},
	} {
		if got := Leak(t, SSHEd25519, c.text); (got != "") != c.leak {
			t.Errorf("%s: found %q", name, got)
		}
	}
}
