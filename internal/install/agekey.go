package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// ageKeyTemp is the end of the names of age keys that are not complete yet.
const ageKeyTemp = ".sops-install-secrets"

// provideAgeKey creates the age key file of a manifest that asks for it, if there is none. It
// tells the recipient once: nothing can be decrypted with the key before it is added to a sops
// file.
func (in Installer) provideAgeKey(m *manifest.Manifest, dry bool) error {
	if !m.GenerateAgeKey || exists(m.Keys.AgeKeyFile) {
		return nil
	}
	path := m.Keys.AgeKeyFile
	if dry {
		fmt.Fprintf(in.Env.Stderr, "would generate the age key %s\n", path)
		return nil
	}
	recipient, err := generateAgeKey(path)
	if err != nil {
		return fmt.Errorf("generate age key: %w", err)
	}
	cli.Note(in.Env, Program, "generated the age key %s (%s)", path, recipient)
	cli.Hint(in.Env, Program, fmt.Sprintf("add %q to the age recipients of this host's sops files in "+
		".sops.yaml, and run for each of them: sops updatekeys FILE", recipient))
	return nil
}

// exists says whether a name is taken, also by a link that leads nowhere: what is there is not
// replaced.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// generateAgeKey writes a new age identity to path, which appears whole or not at all and is never
// replaced, and returns its recipient.
func generateAgeKey(path string) (string, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	dir, base := filepath.Split(path)
	if err := hostfile.MkdirAll(filepath.Clean(dir)); err != nil {
		return "", err
	}
	if err := removeUnusedAgeKeys(dir, base); err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(dir, "."+base+".*"+ageKeyTemp) // mode 0600
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	recipient := id.Recipient().String()
	_, err = fmt.Fprintf(temp, "# created: %s\n# public key: %s\n%s\n", time.Now().Format(time.RFC3339), recipient, id)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return "", err
	}
	if err := renameNew(temp.Name(), path); err != nil {
		return "", &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return recipient, syncDir(dir)
}

// renameNew renames a file to a name that must be free. A file system that cannot promise that
// makes a second name first, which can.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return unix.Link(from, to)
	}
	return err
}

// removeUnusedAgeKeys removes the keys of runs that were killed before they gave them a name.
func removeUnusedAgeKeys(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+base+".") && strings.HasSuffix(e.Name(), ageKeyTemp) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
