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

// ErrUnsynced marks the errors of Pending.Commit after which the new file is in place, but may be
// lost in a power cut.
var ErrUnsynced = errors.New("the new file is in place but may not survive a power cut")

const (
	tempPrefix      = ".sops-initrd-"
	tempSuffix      = ".tmp"
	tempRandomBytes = 8
)

// earlierPrefix began the names of the temporary files that WriteFile of versions before 1.0
// made.
const earlierPrefix = ".atomicfile-"

// Pending is a temporary file that becomes a file of its directory by Commit, or vanishes by
// Abort.
type Pending struct {
	File
	dir  Dir
	name string
	done bool
}

// Create makes a temporary file (mode 0600, a name nobody can foresee) in d. It is locked as long
// as it is open, which tells RemoveStale that somebody works on it.
func Create(d Dir) (*Pending, error) {
	for {
		p, err := create(d)
		if err != nil {
			return nil, err
		}
		err = p.TryLock()
		if err == nil {
			_, err = d.Lstat(p.name)
		}
		if err == nil {
			return p, nil
		}
		// Another run may have taken it for one that was left, between its creation and its lock,
		// and removes it.
		taken := errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrNotExist)
		if gone := p.Abort(); !taken {
			return nil, errors.Join(err, gone)
		}
	}
}

func create(d Dir) (*Pending, error) {
	var random [tempRandomBytes]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	name := tempPrefix + hex.EncodeToString(random[:]) + tempSuffix
	f, err := d.Create(name)
	if err != nil {
		// Where directories are written at once, the file can be there though its creation
		// reported an error. It is empty.
		_ = d.Remove(name)
		return nil, err
	}
	return &Pending{File: f, dir: d, name: name}, nil
}

// Commit syncs the file, gives it its name, syncs it again, syncs the directory and closes the
// file. After an error that is ErrUnsynced the new file is in place; after any other it is gone
// and the name is as it was.
func (p *Pending) Commit(name string) error {
	if err := p.Sync(); err != nil {
		return errors.Join(err, p.Abort())
	}
	renamed := p.dir.Rename(p.name, name)
	// Where directories are written at once, a rename can take effect and report an error all the
	// same.
	if renamed != nil && !p.named(name) {
		return errors.Join(renamed, p.Abort())
	}
	p.done = true
	if err := errors.Join(renamed, p.Sync(), p.dir.Sync(), p.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsynced, err)
	}
	return nil
}

// Abort removes the temporary file and closes it. After Commit it does nothing, so that it can be
// deferred.
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

// IsTemp reports whether name is one that Create makes.
func IsTemp(name string) bool {
	s, ours := strings.CutPrefix(name, tempPrefix)
	if !ours {
		s, ours = strings.CutPrefix(name, earlierPrefix)
	}
	s, temp := strings.CutSuffix(s, tempSuffix)
	_, err := hex.DecodeString(s)
	return ours && temp && len(s) == 2*tempRandomBytes && err == nil
}

// RemoveStale removes the temporary files that runs which were killed left in d. What somebody
// works on is locked, and stays.
func RemoveStale(d Dir) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range names {
		if IsTemp(name) {
			faults = append(faults, removeStale(d, name))
		}
	}
	return errors.Join(faults...)
}

func removeStale(d Dir, name string) error {
	i, err := d.Lstat(name)
	if err != nil || !i.Mode.IsRegular() {
		return nil //nolint:nilerr // gone, or not made by Create
	}
	f, err := d.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	err = f.TryLock()
	if err == nil {
		err = d.Remove(name)
	}
	if errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Attr is what a new file gets besides its content.
type Attr struct {
	Mode     fs.FileMode // permission bits, whatever the umask
	UID, GID int         // -1: the caller's
}

// WriteFile replaces path by a file with the given content, and removes temporary files that
// killed runs left beside it. The attributes are set before the name appears. On error the old
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
	_ = RemoveStale(dir) // the new file matters more than what an earlier run left
	p, err := Create(dir)
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
