package hostfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead through, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// dirFlags open a directory itself, never what a link leads to.
const dirFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// walk is a way through directories that may belong to somebody else than who goes it.
type walk struct {
	dir    *os.File // where it has come to
	parts  []string // what is left
	path   string   // of dir, for messages
	create bool     // what is missing
	links  int
	// claims are links that an ordinary user made or could have made.
	claims []claim
}

// claim says that what a link leads to must belong to the user who controls the link. It is due
// when no more than left parts are left.
type claim struct {
	link string
	uid  uint32
	left int
}

// MkdirAll makes the directory dir, and those above it that are missing, as OpenParent does.
func MkdirAll(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	d, err := OpenParent(dir)
	if err != nil {
		return err
	}
	return d.Close()
}

// OpenParent opens the directory dir and makes what of it is missing, with mode 0755. What is
// made below a directory of an ordinary user belongs to that user.
//
// A user who owns a directory on the way can put a link in the place of any of its entries. Root
// follows such a link only to a directory that belongs to that user as well: else ~/.ssh ->
// /root/.ssh would make the user's key that of root.
func OpenParent(dir string) (*os.File, error) { return openDir(dir, true) }

// FindParent is OpenParent for a directory that is not made where it is missing.
func FindParent(dir string) (*os.File, error) { return openDir(dir, false) }

func openDir(dir string, create bool) (*os.File, error) {
	root, err := os.OpenFile("/", OpenPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	w := &walk{dir: root, parts: split(dir), path: "/", create: create}
	for len(w.parts) > 0 {
		if err := w.next(); err != nil {
			return nil, errors.Join(err, w.dir.Close())
		}
	}
	defer w.dir.Close()
	fd, err := unix.Openat(int(w.dir.Fd()), ".", OpenPath|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// next goes one part on.
func (w *walk) next() error {
	name := w.parts[0]
	full := filepath.Join(w.path, name)
	var info unix.Stat_t
	err := unix.Fstatat(int(w.dir.Fd()), name, &info, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) && w.create && len(w.claims) == 0 {
		return w.mkdir(name, full)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: full, Err: err}
	}
	if info.Mode&unix.S_IFMT == unix.S_IFLNK {
		return w.follow(name, full, info.Uid)
	}
	fd, err := unix.Openat(int(w.dir.Fd()), name, OpenPath|dirFlags, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: full, Err: err}
	}
	w.parts = w.parts[1:]
	return w.enter(os.NewFile(uintptr(fd), full), full)
}

// mkdir makes the next part, which next enters then. The mode does not depend on the umask.
func (w *walk) mkdir(name, full string) error {
	if err := unix.Mkdirat(int(w.dir.Fd()), name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return &fs.PathError{Op: "mkdir", Path: full, Err: err}
	}
	fd, err := unix.Openat(int(w.dir.Fd()), name, unix.O_RDONLY|dirFlags, 0)
	if err != nil {
		return nil //nolint:nilerr // next says what is there now
	}
	dir := os.NewFile(uintptr(fd), full)
	return errors.Join(w.inherit(dir), dir.Chmod(0o755), dir.Close())
}

// inherit gives a new directory the owner of the one it is in, if that is an ordinary user. The
// user may have put another directory in its place meanwhile: only an empty one of ours is given
// away, which the user could as well remove and make again.
func (w *walk) inherit(dir *os.File) error {
	var above, made unix.Stat_t
	if err := errors.Join(unix.Fstat(int(w.dir.Fd()), &above), unix.Fstat(int(dir.Fd()), &made)); err != nil {
		return err
	}
	if os.Geteuid() != 0 || above.Uid == 0 || made.Uid != 0 {
		return nil
	}
	if names, err := dir.Readdirnames(1); len(names) > 0 || !errors.Is(err, io.EOF) {
		return err
	}
	return dir.Chown(int(above.Uid), int(above.Gid))
}

// enter makes dir the place the walk has come to.
func (w *walk) enter(dir *os.File, path string) error {
	_ = w.dir.Close() // only ever read
	w.dir, w.path = dir, path
	for len(w.claims) > 0 {
		c := w.claims[len(w.claims)-1]
		if c.left < len(w.parts) {
			return nil
		}
		var info unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &info); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if info.Uid != c.uid {
			return fmt.Errorf("%s is a link under the control of user %d and leads to %s, which belongs to user %d",
				c.link, c.uid, path, info.Uid)
		}
		w.claims = w.claims[:len(w.claims)-1]
	}
	return nil
}

// follow puts what a link says in the place of the next part.
func (w *walk) follow(name, full string, owner uint32) error {
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: full, Err: unix.ELOOP}
	}
	var here unix.Stat_t
	if err := unix.Fstat(int(w.dir.Fd()), &here); err != nil {
		return &fs.PathError{Op: "stat", Path: w.path, Err: err}
	}
	target, err := ReadlinkAt(w.dir, name)
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: full, Err: err}
	}
	for _, uid := range []uint32{here.Uid, owner} {
		if uid != 0 && int(uid) != os.Geteuid() {
			w.claims = append(w.claims, claim{full, uid, len(w.parts) - 1})
		}
	}
	w.parts = append(split(target), w.parts[1:]...)
	if !filepath.IsAbs(target) {
		return nil
	}
	root, err := os.OpenFile("/", OpenPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return w.enter(root, "/")
}

// ReadlinkAt is what a symbolic link in an opened directory says.
func ReadlinkAt(dir *os.File, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), name, buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}
