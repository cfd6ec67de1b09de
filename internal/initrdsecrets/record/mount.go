package record

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mounted says whether the file system that a record speaks of is there: a boot partition that is not mounted has no
// segments to show, but they are not gone.
func mounted(n note) bool {
	dir := n.Dir
	for {
		mount, err := mountPoint(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return err == nil && mount == n.Mount
		}
		dir = filepath.Dir(dir)
	}
}

// mountPoint finds where the file system of an existing directory is mounted: the uppermost parent on the same device. (A bind
// mount of the same file system is not seen, which at worst keeps a record.)
func mountPoint(dir string) (string, error) {
	dev, err := device(dir)
	if err != nil {
		return "", err
	}
	for dir != "/" {
		up, err := device(filepath.Dir(dir))
		if err != nil {
			return "", err
		}
		if up != dev {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir, nil
}

func device(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return uint64(st.Dev), nil //nolint:unconvert // the type differs between architectures
}
