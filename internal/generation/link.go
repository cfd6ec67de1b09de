package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// tempSuffix ends the names of what is not complete yet. Nobody else gives such names.
const tempSuffix = ".sops-install-secrets"

// tempName is the name under which the successor of a link is made, in the same directory.
func tempName(base string) string {
	const maxNameBytes = 255 // NAME_MAX
	return "." + base[:min(len(base), maxNameBytes-len(tempSuffix)-1)] + tempSuffix
}

// swap makes the link point to target. There is no moment at which it is missing. What stage 1
// left in its place changes its name, and is removed by Prune.
func (s *Store) swap(target string) error {
	dir, base := filepath.Split(s.Link)
	parent, err := hostfile.OpenParent(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	temp := tempName(base)
	if err := s.clearTemp(parent, temp); err != nil {
		return err
	}
	if err := s.symlinkAt(parent, target, temp); err != nil {
		return err
	}
	if err := s.Machine.Step("swap", s.Link); err != nil {
		return &fs.PathError{Op: "rename", Path: s.Link, Err: err}
	}
	var flags uint
	if typeAt(parent, base) == unix.S_IFDIR {
		if s.Stage1 {
			flags = unix.RENAME_EXCHANGE
		} else if err := s.replaceEmptyDir(parent, base); err != nil {
			return errors.Join(err, s.clearTemp(parent, temp))
		}
	}
	return renameAt(parent, temp, base, flags)
}

// clearTemp frees a temporary name. A link into our directories is what a killed run left, and so
// is a directory beside a link that stage 1 had a directory for. Everything else is somebody's,
// and stays.
func (s *Store) clearTemp(parent *os.File, temp string) error {
	full := filepath.Join(parent.Name(), temp)
	kind := typeAt(parent, temp)
	link, _ := hostfile.ReadlinkAt(parent, temp) // no link: ""
	ofStage1 := kind == unix.S_IFDIR && s.Stage1 && filepath.Dir(full) == filepath.Dir(s.Link)
	switch {
	case kind == 0:
		return nil
	case !s.leadsHere(link) && !ofStage1:
		return fmt.Errorf("%s is in the way, and was not made by this program: move it away", full)
	}
	err := s.Machine.Step("remove", full)
	switch {
	case err != nil:
	case ofStage1:
		return os.RemoveAll(full)
	default:
		err = unix.Unlinkat(int(parent.Fd()), temp, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: full, Err: err}
	}
	return nil
}

// leadsHere says whether a link with this target is one of those that this package makes.
func (s *Store) leadsHere(target string) bool {
	return strings.HasPrefix(target, s.MountPoint+"/") || strings.HasPrefix(target, s.Link+"/")
}

// typeAt returns the type of a file, as in stat(2), without following links; 0 if there is none.
func typeAt(dir *os.File, name string) uint32 {
	var info unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &info, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0
	}
	return info.Mode & unix.S_IFMT
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

// PlaceLink makes path a symbolic link to target that belongs to uid and gid, in the place of
// whatever file or link is there; an empty directory is replaced, too. A link that is right
// already is left alone. Missing directories are made. After an error what was there is still
// there. It is safe where others own directories on the way: see hostfile.OpenParent.
func (s *Store) PlaceLink(path, target string, uid, gid uint32) error {
	dir, base := filepath.Split(path)
	parent, err := hostfile.OpenParent(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	if s.UserMode {
		uid, gid = uint32(os.Geteuid()), uint32(os.Getegid())
	}
	var old unix.Stat_t // its type is 0 if there is nothing
	err = unix.Fstatat(int(parent.Fd()), base, &old, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := old.Mode & unix.S_IFMT
	if kind == unix.S_IFLNK && old.Uid == uid && old.Gid == gid {
		if now, err := hostfile.ReadlinkAt(parent, base); err == nil && now == target {
			return nil
		}
	}
	temp := tempName(base)
	if err := s.clearTemp(parent, temp); err != nil {
		return err
	}
	err = s.makeLink(parent, target, temp, uid, gid)
	if err == nil && kind == unix.S_IFDIR {
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

// RemoveLink removes the link at path, if it still is one that PlaceLink made.
func (s *Store) RemoveLink(path string) error {
	dir, base := filepath.Split(path)
	parent, err := hostfile.FindParent(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	if target, err := hostfile.ReadlinkAt(parent, base); err != nil || !strings.HasPrefix(target, s.Link+"/") {
		return nil //nolint:nilerr // no link, or somebody else's
	}
	err = s.Machine.Step("remove", path)
	if err == nil {
		err = unix.Unlinkat(int(parent.Fd()), base, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// makeLink makes a link with its owner. The directory may belong to somebody else, who can put
// anything in the place of the new name at any time: what is chowned is what was opened and is
// known to be a link, never a name.
func (s *Store) makeLink(parent *os.File, target, name string, uid, gid uint32) error {
	if err := s.symlinkAt(parent, target, name); err != nil || s.UserMode {
		return err
	}
	link, err := openLink(parent, name)
	if err != nil {
		return err
	}
	defer link.Close()
	err = s.Machine.Step("chown", link.Name())
	if err == nil {
		err = s.Machine.Chown(link, uid, gid)
	}
	if err != nil {
		return &fs.PathError{Op: "chown", Path: link.Name(), Err: err}
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
		fault := fmt.Errorf("%s: somebody replaced the new link by something else", full)
		return nil, errors.Join(err, fault, link.Close())
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
