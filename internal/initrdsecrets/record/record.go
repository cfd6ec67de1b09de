// Package record remembers which segments this host has installed where.
//
// A boot directory may be written by others, and a segment proves nothing about who made it. So
// one that is found there is taken over only if this host noted, in a directory that nobody but
// root can write, that it installed exactly these bytes. A note is one small file per segment
// and directory; it says what and where, never a value. A lost note costs a salvage, nothing
// else.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// DefaultDir is where a host keeps its records.
const DefaultDir = "/var/lib/sops-initrd"

// version is that of the files this package writes. Others are left alone and prove nothing.
const version = 1

// suffix ends the names of records.
const suffix = ".json"

// maxBytes bounds what is read of one record.
const maxBytes = 64 << 10

// Sum is the SHA-256 of a segment.
type Sum = [sha256.Size]byte

// Store is a directory of records.
type Store struct{ dir string }

// note is a record as it is written.
type note struct {
	Version int    `json:"version"`
	Segment string `json:"segment"` // SHA-256 in hexadecimal
	Dir     string `json:"dir"`     // where the image with it was installed, without symbolic links
	Mount   string `json:"mount"`   // where the file system of Dir was mounted
}

// In names the store in dir. Nothing is looked at or made.
func In(dir string) *Store { return &Store{dir} }

// Add notes that an image in the directory dir is about to get the segment with this sum. It
// makes the store, mode 0700, if need be. On failure there is no such note, and perhaps an
// empty store.
func (s *Store) Add(sum Sum, dir string) error {
	n, err := newNote(sum, dir)
	if err != nil {
		return err
	}
	if err := s.Make(); err != nil {
		return err
	}
	name := filepath.Join(s.dir, n.fileName())
	if known, err := readNote(name); err == nil && known == n {
		return nil
	}
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return write(name, append(data, '\n'))
}

// Make makes the store, unless it is there, and makes sure that nobody else can have written to it.
// Installers of boot loaders run us with umasks that would lock out everybody but root.
func (s *Store) Make() error {
	const all = 0o700
	err := hostfile.MkdirAll(filepath.Dir(s.dir)) // what is above it is for everybody
	if err == nil {
		err = os.Mkdir(s.dir, all)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		if err := s.trusted(); err != nil {
			return err // says by itself what is wrong, in the words of [Store.Has] and [Store.Prune]
		}
		err = nil
	}
	if info, stat := os.Lstat(s.dir); err == nil && stat == nil && info.Mode().Perm()&all != all {
		err = os.Chmod(s.dir, all)
	}
	if err != nil {
		return fmt.Errorf("make the store of records: %w", err)
	}
	return nil
}

// Has says whether this host noted that it installed the segment with this sum in the directory
// dir. Records that others could have written are an error.
func (s *Store) Has(sum Sum, dir string) (bool, error) {
	n, err := newNote(sum, dir)
	if err != nil {
		return false, err
	}
	err = s.trusted()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	known, err := readNote(filepath.Join(s.dir, n.fileName()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return known.Version == version && known.Segment == n.Segment && known.Dir == n.Dir, nil
}

// Prune removes the records of segments that are not installed any more. held tells the sums of
// all segments in a directory; it is asked once for each directory that has records. Records of
// a file system that is not mounted are kept.
func (s *Store) Prune(held func(dir string) (map[Sum]bool, error)) error {
	if err := s.trusted(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read the store of records: %w", err)
	}
	known := make(map[string]map[Sum]bool)
	var faults []error
	for _, f := range files {
		name := filepath.Join(s.dir, f.Name())
		n, err := readNote(name)
		sum, ok := n.sum()
		if !strings.HasSuffix(f.Name(), suffix) || err != nil || n.Version != version || !ok ||
			!mounted(n) {
			continue
		}
		if _, asked := known[n.Dir]; !asked {
			sums, err := held(n.Dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, err)
				sums = nil
			} else if sums == nil {
				sums = map[Sum]bool{}
			}
			known[n.Dir] = sums
		}
		if sums := known[n.Dir]; sums != nil && !sums[sum] {
			faults = append(faults, os.Remove(name))
		}
	}
	return errors.Join(faults...)
}

// trusted says whether the store is one that nobody else can have written to: a directory,
// ours, closed to all others.
func (s *Store) trusted() error {
	var st unix.Stat_t
	if err := unix.Lstat(s.dir, &st); err != nil {
		return &fs.PathError{Op: "open the store of records", Path: s.dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("store of records %s: not a directory", s.dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("store of records %s: belongs to user %d, not to %d", s.dir, st.Uid,
			os.Geteuid())
	case st.Mode&0o077 != 0:
		return fmt.Errorf("store of records %s: mode %#o lets others in (want 0700)", s.dir,
			st.Mode&0o7777)
	}
	return nil
}

func newNote(sum Sum, dir string) (note, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return note{}, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return note{}, err
	}
	mount, err := hostfile.MountPoint(dir)
	return note{Version: version, Segment: hex.EncodeToString(sum[:]), Dir: dir, Mount: mount}, err
}

func (n note) fileName() string {
	dir := sha256.Sum256([]byte(n.Dir))
	return n.Segment + "-" + hex.EncodeToString(dir[:8]) + suffix
}

func (n note) sum() (sum Sum, ok bool) {
	data, err := hex.DecodeString(n.Segment)
	return sum, err == nil && copy(sum[:], data) == len(sum) && len(data) == len(sum)
}

// readNote reads a record that only this user can have written.
func readNote(name string) (n note, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return n, err
	}
	defer func() { _ = f.Close() }() // only read from
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return n, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 ||
		st.Nlink != 1 {
		return n, fmt.Errorf("record %s: others could have written it", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return note{}, fmt.Errorf("record %s: %w", name, err)
	}
	return n, nil
}

func write(name string, data []byte) error {
	if err := atomicfile.WriteFile(atomicfile.OS(), name, data, atomicfile.Attr{
		Mode: 0o600, UID: -1,
		GID: -1,
	}); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}
