package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tempName is the name under which the successor of a link is made, in the same directory.
func tempName(base string) string { return hidden(base, ".new") }

// oldName is where a directory in the place of the link goes where two names cannot be exchanged.
func oldName(base string) string { return hidden(base, ".old") }

func hidden(base, suffix string) string {
	const maxNameBytes = 255 // NAME_MAX
	return "." + base[:min(len(base), maxNameBytes-len(suffix)-1)] + suffix
}

func openDir(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

func (s *Store) removeAll(name string) error {
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.Machine.Step("remove", name); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return os.RemoveAll(name)
}

// swap makes the link point to target. There is no moment at which it is missing. A real directory in its place changes its
// name, and is removed by Prune.
func (s *Store) swap(target string) error {
	dir, base := filepath.Split(s.Link)
	if err := mkdirAll(filepath.Clean(dir)); err != nil {
		return err
	}
	parent, err := openDir(dir)
	if err != nil {
		return err
	}
	defer parent.Close()
	temp := tempName(base)
	if err := s.removeAll(filepath.Join(dir, temp)); err != nil {
		return err
	}
	if err := s.symlinkAt(parent, target, temp); err != nil {
		return err
	}
	if err := s.Machine.Step("swap", s.Link); err != nil {
		return &fs.PathError{Op: "rename", Path: s.Link, Err: err}
	}
	if info, err := os.Lstat(s.Link); err == nil && info.IsDir() {
		return replaceDir(parent, temp, base)
	}
	return renameAt(parent, temp, base, 0)
}

// replaceDir puts temp in the place of the directory base.
func replaceDir(parent *os.File, temp, base string) error {
	err := renameAt(parent, temp, base, unix.RENAME_EXCHANGE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system without exchange: for a moment there is neither.
	if err := renameAt(parent, base, oldName(base), 0); err != nil {
		return err
	}
	return renameAt(parent, temp, base, 0)
}

func renameAt(dir *os.File, from, to string, flags uint) error {
	if err := unix.Renameat2(int(dir.Fd()), from, int(dir.Fd()), to, flags); err != nil {
		return &fs.PathError{Op: "rename", Path: filepath.Join(dir.Name(), to), Err: err}
	}
	return nil
}

func (s *Store) symlinkAt(dir *os.File, target, name string) error {
	full := filepath.Join(dir.Name(), name)
	err := s.Machine.Step("symlink", full)
	if err == nil {
		err = unix.Symlinkat(target, int(dir.Fd()), name)
	}
	if err != nil {
		return &fs.PathError{Op: "symlink", Path: full, Err: err}
	}
	return nil
}

// PlaceLink makes path a symbolic link to target that belongs to uid and gid, in the place of whatever file or link is there; an
// empty directory is replaced, too. A link that is right already is left alone. Missing directories are made. After an error
// what was there is still there. It is safe where others own directories on the way: see openParent.
func (s *Store) PlaceLink(path, target string, uid, gid int) error {
	dir, base := filepath.Split(path)
	parent, err := openParent(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	if s.UserMode {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	var old unix.Stat_t // its type is 0 if there is nothing
	if err := unix.Fstatat(int(parent.Fd()), base, &old, unix.AT_SYMLINK_NOFOLLOW); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if old.Mode&unix.S_IFMT == unix.S_IFLNK && int(old.Uid) == uid && int(old.Gid) == gid {
		if now, err := readlinkAt(parent, base); err == nil && now == target {
			return nil
		}
	}
	temp := tempName(base)
	err = s.makeLink(parent, target, temp, uid, gid)
	if err == nil && old.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = s.replaceEmptyDir(parent, base)
	}
	if err == nil {
		err = s.renameLink(parent, temp, base)
	}
	if err != nil {
		_ = unix.Unlinkat(int(parent.Fd()), temp, 0) // the first error counts
	}
	return err
}

// makeLink makes a link with its owner. The directory may belong to somebody else, who can put anything in the place of the new
// name at any time: what is chowned is what was opened and is known to be a link, never a name.
func (s *Store) makeLink(parent *os.File, target, name string, uid, gid int) error {
	err := unix.Unlinkat(int(parent.Fd()), name, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	if err := s.symlinkAt(parent, target, name); err != nil || s.UserMode {
		return err
	}
	link, err := openLink(parent, name)
	if err != nil {
		return err
	}
	defer link.Close()
	full := link.Name()
	if err := s.Machine.Step("chown", full); err != nil {
		return &fs.PathError{Op: "chown", Path: full, Err: err}
	}
	if err := s.Machine.Chown(link, uid, gid); err != nil {
		return &fs.PathError{Op: "chown", Path: full, Err: err}
	}
	return nil
}

// openLink opens a symbolic link itself.
func openLink(parent *os.File, name string) (*os.File, error) {
	full := filepath.Join(parent.Name(), name)
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	link := os.NewFile(uintptr(fd), full)
	if info, err := link.Stat(); err != nil || info.Mode().Type() != fs.ModeSymlink {
		return nil, errors.Join(err, fmt.Errorf("%s: somebody replaced the new link by something else", full), link.Close())
	}
	return link, nil
}

// replaceEmptyDir makes room for the link. A directory with files in it is not ours to remove.
func (s *Store) replaceEmptyDir(parent *os.File, base string) error {
	full := filepath.Join(parent.Name(), base)
	err := s.Machine.Step("remove", full)
	if err == nil {
		err = unix.Unlinkat(int(parent.Fd()), base, unix.AT_REMOVEDIR)
	}
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s is a directory with files in it", full)
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: full, Err: err}
	}
	return nil
}

func (s *Store) renameLink(parent *os.File, temp, base string) error {
	full := filepath.Join(parent.Name(), base)
	if err := s.Machine.Step("rename", full); err != nil {
		return &fs.PathError{Op: "rename", Path: full, Err: err}
	}
	return renameAt(parent, temp, base, 0)
}

// mkdirAll makes the directories that are missing, mode 0755 whatever the umask is.
func mkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir && strings.HasPrefix(dir, "/") {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chmod(dir, 0o755)
}
