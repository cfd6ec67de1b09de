package initrdsecrets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
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

// checkKeys refuses SSH private keys that sshd would not load. Where the mode is not the manifest's
// but that of a file on this host, it only warns: NixOS sets the mode of such host keys before it
// starts sshd.
func (j *job) checkKeys(entries []initrd.Entry) error {
	if j.AllowLooseKeys {
		return nil
	}
	inherited := make(map[string]bool)
	for i, list := range j.sources {
		for _, e := range list {
			inherited[e.Path] = j.manifest.Entries[i].Mode == nil
		}
	}
	var faults []error
	for _, e := range entries {
		if !e.Mode.IsRegular() || !looseKey(e.Data, e.Mode) {
			continue
		}
		text := fmt.Sprintf("entry %s: an SSH private key with mode %#o, which sshd does not load", e.Path, e.Mode.Perm())
		if inherited[e.Path] {
			j.Warn(text)
			continue
		}
		faults = append(faults, cli.WithHint(errors.New(text), `give it mode "0400", or say --allow-loose-keys if no sshd reads it`))
	}
	return errors.Join(faults...)
}
