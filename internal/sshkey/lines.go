package sshkey

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// TypeError says that a key is a good SSH key whose type has no use here.
type TypeError struct{ Type string }

func (e *TypeError) Error() string {
	return fmt.Sprintf("%s keys cannot decrypt (only ed25519 and RSA keys can)", e.Type)
}

// Lines reads public keys as they stand in .pub files, authorized_keys and known_hosts and as
// ssh-keyscan prints them: one a line, before it perhaps options or hosts, behind it perhaps a
// comment; empty lines and lines that begin with # are left out. It yields the number of each line
// and its key, or the reason why there is none, a *TypeError where only the type is unfit. No error
// contains a part of its line.
func Lines(text string) iter.Seq2[int, Line] {
	return func(yield func(int, Line) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			var l Line
			l.Key, l.Err = parseLine(line)
			if !yield(n, l) {
				return
			}
		}
	}
}

// Line is what a line of a list of public keys holds.
type Line struct {
	Key Public
	Err error
}

func parseLine(line string) (Public, error) {
	// Markers of known_hosts, sshd(8): keys of certificate authorities are nobody's own, revoked ones
	// nobody's any more.
	if strings.HasPrefix(line, "@") {
		return Public{}, errors.New("a key that is marked with @ in known_hosts is no host's key")
	}
	key, err := ParsePublic(line)
	if unfit := new(TypeError); err != nil && !errors.As(err, &unfit) {
		if name := algorithm(line); name != "" {
			return Public{}, &TypeError{name}
		}
	}
	return key, err
}

// algorithm finds a key of any type in a line: a word that is base64 and begins with the length of
// the word before it and that word itself (RFC 4253, 6.6).
func algorithm(line string) string {
	words := strings.Fields(line)
	for i := 1; i < len(words); i++ {
		blob, err := base64.StdEncoding.DecodeString(words[i])
		name := words[i-1]
		if err == nil && len(blob) > 4+len(name) && int(binary.BigEndian.Uint32(blob)) == len(name) && string(blob[4:4+len(name)]) == name {
			switch name {
			case "ssh-ed25519", "ssh-rsa":
				return "" // a known type that does not parse is damaged
			}
			return name
		}
	}
	return ""
}
