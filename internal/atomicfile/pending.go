package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// ErrUnsynced marks the errors of Pending.Commit after which the new file is in place, but may be lost in a power cut.
var ErrUnsynced = errors.New("the new file is in place but may not survive a power cut")

const (
	filePrefix      = ".atomicfile-" // of WriteFile's temporary files
	tempSuffix      = ".tmp"
	tempRandomBytes = 8
)

// Pending is a temporary file that becomes a file of its directory by Commit, or vanishes by Abort.
type Pending struct {
	File
	dir  Dir
	name string
	done bool
}

// Create makes a temporary file (mode 0600, a name nobody can foresee) in d. The prefix tells RemoveStale whose it is.
func Create(d Dir, prefix string) (*Pending, error) {
	var random [tempRandomBytes]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	name := prefix + hex.EncodeToString(random[:]) + tempSuffix
	f, err := d.Create(name)
	if err != nil {
		// Where directories are written at once, the file can be there though its creation reported an error. It is empty.
		_ = d.Remove(name)
		return nil, err
	}
	return &Pending{File: f, dir: d, name: name}, nil
}

// Commit syncs the file, gives it its name, syncs it again, syncs the directory and closes the file. After an error that is
// ErrUnsynced the new file is in place; after any other it is gone and the name is as it was.
func (p *Pending) Commit(name string) error {
	if err := p.Sync(); err != nil {
		return errors.Join(err, p.Abort())
	}
	renamed := p.dir.Rename(p.name, name)
	// Where directories are written at once, a rename can take effect and report an error all the same.
	if renamed != nil && !p.named(name) {
		return errors.Join(renamed, p.Abort())
	}
	p.done = true
	if err := errors.Join(renamed, p.Sync(), p.dir.Sync(), p.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsynced, err)
	}
	return nil
}

// Abort removes the temporary file and closes it. After Commit it does nothing, so that it can be deferred.
func (p *Pending) Abort() error {
	if p.done {
		return nil
	}
	p.done = true
	err := p.dir.Remove(p.name)
	if err != nil && p.named(p.name) {
		err = errors.Join(err, p.Truncate(0)) // the name stays, its content must not
	}
	return errors.Join(err, p.Close())
}

// named reports whether the name is the file's.
func (p *Pending) named(name string) bool {
	file, err := p.Stat()
	if err != nil {
		return false
	}
	at, err := p.dir.Lstat(name)
	return err == nil && at.SameFile(file)
}

// IsTemp reports whether name is one that Create makes with this prefix.
func IsTemp(name, prefix string) bool {
	s, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return false
	}
	s, ok = strings.CutSuffix(s, tempSuffix)
	if !ok || len(s) != 2*tempRandomBytes {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// RemoveStale removes the temporary files with this prefix that runs which did not end properly left in d, and returns their
// names. The caller holds the lock under which all such files are made.
func RemoveStale(d Dir, prefix string) ([]string, error) {
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	var removed []string
	var faults []error
	for _, name := range names {
		if !IsTemp(name, prefix) {
			continue
		}
		if i, err := d.Lstat(name); err != nil || !i.Mode.IsRegular() {
			continue // not made by Create
		}
		if err := d.Remove(name); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, err)
			}
			continue
		}
		removed = append(removed, name)
	}
	return removed, errors.Join(faults...)
}

// Attr is what a new file gets besides its content.
type Attr struct {
	Mode     fs.FileMode // permission bits, whatever the umask
	UID, GID int         // -1: the caller's
}

// WriteFile replaces path by a file with the given content. The attributes are set before the name appears. On error the old
// file is untouched, unless the error is ErrUnsynced.
func WriteFile(l Layer, path string, data []byte, a Attr) error {
	dir, err := l.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = writeFile(dir, filepath.Base(path), data, a)
	return errors.Join(err, dir.Close())
}

func writeFile(dir Dir, name string, data []byte, a Attr) error {
	p, err := Create(dir, filePrefix)
	if err != nil {
		return err
	}
	if err := fill(p, data, a); err != nil {
		return errors.Join(err, p.Abort())
	}
	return p.Commit(name)
}

func fill(f File, data []byte, a Attr) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if a.UID >= 0 || a.GID >= 0 {
		if err := f.Chown(a.UID, a.GID); err != nil {
			return err
		}
	}
	return f.Chmod(a.Mode) // after chown, which clears setuid
}
