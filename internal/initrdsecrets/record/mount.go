package record

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// mounted says whether the file system that a record speaks of is there: a boot partition that
// is not mounted has no segments to show, but they are not gone.
func mounted(n note) bool {
	dir := n.Dir
	for {
		mount, err := hostfile.MountPoint(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return err == nil && mount == n.Mount
		}
		dir = filepath.Dir(dir)
	}
}
