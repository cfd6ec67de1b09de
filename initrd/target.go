package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
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
		if who, err := hostfile.Replacers(dir); err != nil {
			return "", "", err
		} else if who != "" {
			return "", "", fmt.Errorf("image %s: %s is a symbolic link that others could have made: %s",
				image, at, who)
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
