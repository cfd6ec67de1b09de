package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links in a row are followed, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// resolve follows the symbolic links that an image's name may be, and returns directory and name
// of the file itself, which need not exist. A link is followed only where nobody but root, or the
// caller, could have put it.
func resolve(image string) (dir, name string, err error) {
	if image == "" {
		return "", "", errors.New("image: no name given")
	}
	at := image
	for range maxLinks {
		i := strings.LastIndexByte(at, '/')
		dir, name = at[:i+1], at[i+1:]
		switch name {
		case "":
			return "", "", &fs.PathError{Op: "open", Path: image, Err: syscall.EISDIR}
		case ".", "..":
			return "", "", &fs.PathError{Op: "open", Path: image, Err: syscall.EISDIR}
		}
		if dir == "" {
			dir = "./"
		}
		fi, err := os.Lstat(dir + name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.Mode().Type() != fs.ModeSymlink {
			return dir, name, nil
		}
		if err != nil {
			return "", "", err
		}
		if who, err := writable(dir); err != nil {
			return "", "", err
		} else if who != "" {
			return "", "", fmt.Errorf("image %s: %s is a symbolic link that others could have made: %s", image, at, who)
		}
		target, err := os.Readlink(dir + name)
		if err != nil {
			return "", "", err
		}
		if at = target; !strings.HasPrefix(target, "/") {
			at = dir + target
		}
	}
	return "", "", &fs.PathError{Op: "open", Path: image, Err: syscall.ELOOP}
}

// writable says who but root and the caller can change what a directory's names mean; "" for
// nobody. All directories above it count, too: who can rename one of them can put another in its
// place. In a sticky directory only the owner of a name can.
func writable(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if real, err = filepath.Abs(real); err != nil {
		return "", err
	}
	for p, above := real, false; ; p, above = filepath.Dir(p), true {
		fi, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		uid := fi.Sys().(*syscall.Stat_t).Uid
		switch {
		case uid != 0 && int64(uid) != int64(os.Geteuid()):
			return fmt.Sprintf("%s belongs to uid %d", p, uid), nil
		case fi.Mode()&0o022 != 0 && (!above || fi.Mode()&fs.ModeSticky == 0):
			return fmt.Sprintf("%s has mode %04o", p, linuxMode(fi.Mode())&0o7777), nil
		case p == "/":
			return "", nil
		}
	}
}

// reachable says whether users that are neither owner nor in the group of the directories can get
// at a file in dir.
func reachable(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return true
	}
	if real, err = filepath.Abs(real); err != nil {
		return true
	}
	for p := real; ; p = filepath.Dir(p) {
		if fi, err := os.Stat(p); err == nil && fi.Mode()&0o001 == 0 {
			return false
		}
		if p == "/" {
			return true
		}
	}
}

// mountPoint is the top directory of the file system that dir is on.
func mountPoint(dir string) string {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return dir
	}
	if real, err = filepath.Abs(real); err != nil {
		return dir
	}
	dev := func(p string) (uint64, bool) {
		fi, err := os.Stat(p)
		if err != nil {
			return 0, false
		}
		return uint64(fi.Sys().(*syscall.Stat_t).Dev), true
	}
	own, ok := dev(real)
	for p := real; ok && p != "/"; {
		up := filepath.Dir(p)
		if d, ok := dev(up); !ok || d != own {
			return p
		}
		p = up
	}
	return "/"
}
