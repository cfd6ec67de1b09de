package initrdsecrets

import (
	"bytes"
	"io/fs"
)

// keyHeaders begin the private keys that sshd loads as host keys. The PKCS #8 header is not among them: sshd takes it too, but
// almost every such file is the key of something else.
var keyHeaders = [...]string{
	"-----BEGIN OPENSSH PRIVATE KEY-----",
	"-----BEGIN RSA PRIVATE KEY-----",
	"-----BEGIN DSA PRIVATE KEY-----",
	"-----BEGIN EC PRIVATE KEY-----",
}

// looseKey says whether data is an SSH private key whose mode lets others than its owner at it. sshd does not load such a
// key ("UNPROTECTED PRIVATE KEY FILE") and ends when it has no other (OpenSSH, authfile.c: mode & 077).
func looseKey(data []byte, mode fs.FileMode) bool {
	if mode.Perm()&0o077 == 0 {
		return false
	}
	text := bytes.TrimLeft(data, " \t\r\n")
	for _, header := range keyHeaders {
		if bytes.HasPrefix(text, []byte(header)) {
			return true
		}
	}
	return false
}
