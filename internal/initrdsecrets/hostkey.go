package initrdsecrets

import (
	"bytes"
	"errors"
	"fmt"
	"path"

	"golang.org/x/crypto/ssh"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// keyHeaders begin the private keys that sshd loads as host keys. The PKCS #8 header is not among
// them: sshd takes it too, but almost every such file is the key of something else.
var keyHeaders = [...]string{
	openSSHBegin,
	"-----BEGIN RSA PRIVATE KEY-----",
	"-----BEGIN DSA PRIVATE KEY-----",
	"-----BEGIN EC PRIVATE KEY-----",
}

// The lines around a private key in OpenSSH's own format. OpenSSH wants both, to the byte, with a
// line feed behind each of them (sshkey.c, private2_uudecode).
const (
	openSSHBegin = "-----BEGIN OPENSSH PRIVATE KEY-----"
	openSSHEnd   = "-----END OPENSSH PRIVATE KEY-----"
)

// isPrivateKey says whether data is an SSH private key, or was meant to be one.
func isPrivateKey(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	for _, header := range keyHeaders {
		if bytes.HasPrefix(text, []byte(header)) {
			return true
		}
	}
	return false
}

// hostKeyFault says why sshd would not load a host key; "" when it would. mended is the key
// with the line feed at its end that YAML block scalars often lose.
func hostKeyFault(data []byte) (mended []byte, fault string) {
	if bytes.HasPrefix(data, []byte(openSSHBegin)) && bytes.HasSuffix(data, []byte("\n"+openSSHEnd)) {
		data = append(bytes.Clone(data), '\n')
		mended = data
	}
	_, err := ssh.ParseRawPrivateKey(data)
	var passphrase *ssh.PassphraseMissingError
	_, _, _, _, publicErr := ssh.ParseAuthorizedKey(data)
	switch {
	case errors.As(err, &passphrase):
		return nil, "it has a passphrase"
	case publicErr == nil:
		return nil, "it is a public key"
	case bytes.Contains(data, []byte(openSSHBegin)):
		switch begin := []byte(openSSHBegin + "\n"); {
		case bytes.Contains(data, []byte(openSSHBegin+"\r\n")):
			return nil, "its lines end in CR LF, not in LF"
		case !bytes.Contains(data, begin) || !bytes.Contains(data, []byte("\n"+openSSHEnd+"\n")):
			return nil, "its line breaks are lost, or its lines are indented"
		case !bytes.HasPrefix(data, begin):
			return nil, "something stands before its first line"
		}
	}
	if err != nil {
		return nil, "it is no SSH private key, or a damaged one"
	}
	return mended, ""
}

// checkKeys refuses SSH private keys that sshd would not load: then a machine would wait for
// its passphrase with nobody able to log in. A missing line feed at the end is added, with a
// note. Where a mode is not the manifest's but that of a file on this host, it only warns:
// NixOS sets the mode of such host keys before it starts sshd. Without values, as in a build,
// only names and modes are known.
func (j *job) checkKeys(entries []initrd.Entry, values bool) error {
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
	for i := range entries {
		e := &entries[i]
		isHostKey := isHostKeyPath(e.Path)
		if !e.Mode.IsRegular() || !isHostKey && !isPrivateKey(e.Data) {
			continue
		}
		// sshd refuses modes that let others at the key (OpenSSH, authfile.c: mode & 077).
		if e.Mode.Perm()&0o077 != 0 {
			text := fmt.Sprintf("entry %s: an SSH private key with mode %#o, which sshd does not load",
				e.Path, e.Mode.Perm())
			if inherited[e.Path] {
				j.Warn(text)
			} else {
				faults = append(faults, cli.WithHint(errors.New(text), `give it mode "0400"`+unlessMeant))
			}
		}
		if !values || !isHostKey && !bytes.Contains(e.Data, []byte(openSSHBegin)) {
			continue // programs other than sshd read keys in PEM, and take forms that sshd does not
		}
		mended, fault := hostKeyFault(e.Data)
		switch {
		case fault != "":
			faults = append(faults, cli.WithHint(
				fmt.Errorf("entry %s: an SSH host key that sshd does not load: %s", e.Path, fault),
				"ssh-keygen -y -P '' -f FILE shows whether OpenSSH loads a key; in YAML, a key is a block "+
					"after |"+unlessMeant))
		case mended != nil:
			e.Data = mended
			j.notes = append(j.notes, fmt.Sprintf(
				"entry %s: added the line feed that the SSH private key lacks at its end; sshd does not "+
					"load it without", e.Path))
		}
	}
	return errors.Join(faults...)
}

// The lengths between which private keys are: the shortest, of ed25519 in PEM, has 119 bytes, and
// sshd takes no RSA key of more than 16384 bits (OpenSSH, sshkey.h), which has 13 kB.
const minKeyBytes, maxKeyBytes = 100, 64 << 10

// checkKeySizes refuses, without any key of the sops files, what is too short or too long for a
// host key.
func checkKeySizes(m *manifest.Initrd, sizes map[string]int) error {
	var faults []error
	for _, e := range m.Entries {
		n, known := sizes[e.Secret]
		if e.Secret == "" || !known || !isHostKeyPath(e.Path) || n >= minKeyBytes && n <= maxKeyBytes {
			continue
		}
		faults = append(faults, cli.WithHint(
			fmt.Errorf("entry %s: secret %q has %d bytes, which no SSH host key has", e.ImagePath(),
				e.Secret, n),
			"the private key belongs there, as a block after | in YAML"+unlessMeant))
	}
	return errors.Join(faults...)
}

func isHostKeyPath(name string) bool {
	is, _ := path.Match("ssh_host_*_key", path.Base(name)) // the pattern is well-formed
	return is
}

const unlessMeant = ", or say --allow-loose-keys if no sshd reads it"
