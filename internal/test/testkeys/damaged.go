package testkeys

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

// Damaged are copies of a private SSH key with the faults that files have in life, by a word for
// the fault.
func Damaged(t testing.TB, name string) map[string][]byte {
	t.Helper()
	key := Data(t, name)
	lines := bytes.SplitAfter(key, []byte("\n"))
	middle := len(key) / 2
	flipped := bytes.Clone(key)
	flipped[middle] ^= 1
	return map[string][]byte{
		"without first line": bytes.Join(lines[1:], nil),
		"without last line": bytes.TrimSuffix(key,
			append(lines[len(lines)-2], lines[len(lines)-1]...)),
		"without both":   bytes.Join(lines[1:len(lines)-2], nil),
		"first half":     key[:middle],
		"second half":    key[middle:],
		"flipped bit":    flipped,
		"other PEM type": bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("CERTIFICATE")),
		"on one line":    bytes.ReplaceAll(key, []byte("\n"), []byte(" ")),
		"lines joined":   bytes.ReplaceAll(key, []byte("\n"), nil),
		"indented":       bytes.ReplaceAll(key, []byte("\n"), []byte("\n  ")),
		"quoted":         []byte(fmt.Sprintf("%q", key)),
		"behind a host": append([]byte("server01 ssh-ed25519 "),
			bytes.Join(lines[1:len(lines)-2], nil)...),
		"as the type": append(bytes.TrimSpace(lines[1]), " AAAA\n"...),
		"as options":  append(bytes.TrimSpace(lines[1]), " ssh-ed25519 AAAA\n"...),
		"behind a public key": append([]byte(Public(t, SSHEd25519Other)+"\n"),
			bytes.Join(lines[1:], nil)...),
		"NULs between": bytes.Join(bytes.Split(key, nil), []byte{0}),
		"zeros behind": append(bytes.Clone(key), make([]byte, 4096)...),
		"twice":        append(bytes.Clone(key), key...),
		"one line of it as PEM": pem.EncodeToMemory(&pem.Block{
			Type:  "OPENSSH PRIVATE KEY",
			Bytes: lines[1],
		}),
	}
}

// Leak returns a part of a private SSH key file that text contains, as base64 with or without line
// breaks, in hexadecimal or as it is, or nothing. Also what is public in the file counts, but for
// the name of the algorithm: no message needs a part of it.
func Leak(t testing.TB, name, text string) string {
	t.Helper()
	block, _ := pem.Decode(Data(t, name))
	if block == nil {
		t.Fatalf("%s is no PEM", name)
	}
	text = strings.ReplaceAll(text, strings.Fields(Public(t, name))[0], "")
	text += strings.NewReplacer("\n", "", `\n`, "", "\r", "", " ", "", "\x00", "").Replace(text)
	for encoded, window := range map[string]int{
		base64.StdEncoding.EncodeToString(block.Bytes): 12, hex.EncodeToString(block.Bytes): 16,
		string(block.Bytes): 8,
	} {
		for i := 0; i+window <= len(encoded); i++ {
			part := encoded[i : i+window]
			if padding := strings.Count(part, part[:1]) == window; !padding && strings.Contains(text, part) {
				return part
			}
		}
	}
	return ""
}
