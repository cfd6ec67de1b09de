package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// fixture makes the data of the cases with the programs that users make theirs with, and keeps it
// from run to run. What is there under its name is complete.
type fixture struct {
	dir  string // absolute
	bin  string // directory of the pinned sops and of this project's key tools
	keys string // directory of the keys of package testkeys
}

// The recipients' private keys, as files in fixture.keys.
const (
	ed25519Key = "ssh_ed25519"
	rsaKey     = "ssh_rsa_4096"
)

func (f *fixture) sops() string { return filepath.Join(f.bin, "sops") }

// key copies a private key, because the tools insist on its mode, and returns the path of the copy.
func (f *fixture) key(name string) (string, error) {
	return f.make(name, func(path string) error {
		data, err := os.ReadFile(filepath.Join(f.keys, name))
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
}

// make returns the path of name; where that is missing f makes it, under another name first.
func (f *fixture) make(name string, make func(path string) error) (string, error) {
	path := filepath.Join(f.dir, name)
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := make(unfinished); err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	return path, os.Rename(unfinished, path)
}

// output runs a command and returns what it prints.
func output(stdin io.Reader, env []string, argv ...string) ([]byte, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(bare(), env...)
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// ageRecipient is the recipient of the ed25519 host key's conversion, to which users encrypt for a
// host.
func (f *fixture) ageRecipient() (string, error) {
	text, err := output(nil, nil, filepath.Join(f.bin, "ssh-to-age"), "-i",
		filepath.Join(f.keys, ed25519Key+".pub"))
	return strings.TrimSpace(string(text)), err
}

// ageKeyFile is the file of the converted key, for tools that take no SSH keys.
func (f *fixture) ageKeyFile() (string, error) {
	key, err := f.key(ed25519Key)
	if err != nil {
		return "", err
	}
	return f.make("age-keys.txt", func(path string) error {
		_, err := output(nil, nil, filepath.Join(f.bin, "ssh-to-age"), "-private-key", "-i", key, "-o",
			path)
		return err
	})
}

// gnupgHome is a home of gpg with the RSA host key's conversion.
func (f *fixture) gnupgHome() (string, error) {
	key, err := f.key(rsaKey)
	if err != nil {
		return "", err
	}
	return f.make("gnupg", func(path string) error {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		armored, err := output(nil, nil, filepath.Join(f.bin, "ssh-to-pgp"), "-private-key", "-i", key)
		if err != nil {
			return err
		}
		_, err = output(bytes.NewReader(armored), nil, "gpg", "--homedir", path, "--batch", "--quiet",
			"--import")
		_, stopErr := output(nil, nil, "gpgconf", "--homedir", path, "--kill", "all")
		return errors.Join(err, stopErr)
	})
}

// stopAgent ends the agent of gnupgHome, where there is one.
func (f *fixture) stopAgent() error {
	path := filepath.Join(f.dir, "gnupg")
	if _, err := os.Stat(path); err != nil {
		return nil //nolint:nilerr // no case needed it
	}
	_, err := output(nil, nil, "gpgconf", "--homedir", path, "--kill", "all")
	return err
}

// pgpFingerprint is the fingerprint of the key in gnupgHome.
func (f *fixture) pgpFingerprint() (string, error) {
	home, err := f.gnupgHome()
	if err != nil {
		return "", err
	}
	text, err := output(nil, nil, "gpg", "--homedir", home, "--batch", "--with-colons", "--list-keys")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 {
			return fields[9], nil
		}
	}
	return "", errors.New("gpg lists no key")
}

// value is the value of secret i: 32 random bytes in base64, the same in every run.
func value(i int) string {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("secret %d", i))
	random := make([]byte, 32)
	_, _ = rand.NewChaCha8(seed).Read(random) // it never fails
	return base64.StdEncoding.EncodeToString(random)
}

func secretKey(i int) string { return fmt.Sprintf("secret_%05d", i) }

// yaml is a file with n values, the first of which is that of secret i.
func yaml(i, n int) string {
	var text strings.Builder
	for j := range n {
		fmt.Fprintf(&text, "%s: %s\n", secretKey(i+j), value(i+j))
	}
	return text.String()
}

// recipient is for whom a sops file is encrypted: "--age age1…" or "--pgp FINGERPRINT", with the
// variables sops needs.
type recipient struct {
	flag, id string
	env      []string
}

func (f *fixture) age() (recipient, error) {
	id, err := f.ageRecipient()
	return recipient{"--age", id, nil}, err
}

func (f *fixture) pgp() (recipient, error) {
	home, err := f.gnupgHome()
	if err != nil {
		return recipient{}, err
	}
	id, err := f.pgpFingerprint()
	return recipient{"--pgp", id, []string{"GNUPGHOME=" + home}}, err
}

// encrypt makes a sops file of text.
func (f *fixture) encrypt(name, format string, text io.Reader, r recipient) (string, error) {
	return f.make(name, func(path string) error {
		data, err := output(text, r.env, f.sops(), "encrypt", "--input-type", format, "--output-type",
			outputType(format),
			"--filename-override", "secrets", r.flag, r.id, "/dev/stdin")
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
}

// outputType is the form in which sops writes a file of a format.
func outputType(format string) string {
	if format == "binary" {
		return "json"
	}
	return format
}

// yamlFiles makes count files with n values each.
func (f *fixture) yamlFiles(count, n int, r recipient) ([]string, error) {
	files := make([]string, count)
	var group errgroup.Group
	group.SetLimit(2)
	for i := range count {
		group.Go(func() (err error) {
			name := fmt.Sprintf("%s-%dx%d/%04d.yaml", strings.TrimLeft(r.flag, "-"), count, n, i)
			files[i], err = f.encrypt(name, "yaml", strings.NewReader(yaml(i*n, n)), r)
			return err
		})
	}
	return files, group.Wait()
}

// noise is a reader of n random bytes, the same in every run.
func noise(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), n) }

// initrd makes a compressed initrd of at least size bytes: a cpio archive that cannot be compressed
// much, with zstd, as NixOS does.
func (f *fixture) initrd(name string, size int64) (string, error) {
	return f.make(name, func(path string) error {
		root := path + ".root"
		defer os.RemoveAll(root)
		if err := os.MkdirAll(filepath.Join(root, "nix/store"), 0o755); err != nil {
			return err
		}
		file, err := os.Create(filepath.Join(root, "nix/store/modules"))
		if err != nil {
			return err
		}
		if _, err := io.Copy(file, noise(size)); err != nil {
			return errors.Join(err, file.Close())
		}
		if err := file.Close(); err != nil {
			return err
		}
		const script = `cd "$1" && find . -mindepth 1 | sort | ` +
			`cpio --quiet -o -H newc -R +0:+0 --reproducible | zstd -q -1 -T0 >"$2"`
		_, err = output(nil, nil, "bash", "-euo", "pipefail", "-c", script, "bash", root, path)
		return err
	})
}
