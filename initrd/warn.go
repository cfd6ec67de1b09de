package initrd

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func (d *decision) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, Warning{Text: fmt.Sprintf(format, args...)})
}

// warn looks for what makes secrets readable by others. An image that somebody else may have put
// there to have secrets written into it is an error.
func (j *job) warn(d *decision) error {
	if d.Length == 0 {
		return nil
	}
	space, err := j.dir.Space()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if j.file != nil {
		mode = j.info.Mode
		if err := j.warnOwner(d); err != nil {
			return err
		}
	} else if vfat := space.Type == unix.MSDOS_SUPER_MAGIC; vfat {
		dir, err := j.dir.Stat()
		if err != nil {
			return err
		}
		mode = dir.Mode // files get theirs from the mount's options, as directories do
	}
	if mode&0o004 != 0 && reachable(j.dirPath) {
		w := Warning{Text: fmt.Sprintf("image %s: can be read by every user (mode %04o)", j.image, mode.Perm())}
		if space.Type == unix.MSDOS_SUPER_MAGIC {
			w.Hint = fmt.Sprintf("mount %s with the option umask=0077", mountPoint(j.dirPath))
		} else {
			w.Hint = fmt.Sprintf("chmod o= %s, or close a directory above it", j.image)
		}
		d.Warnings = append(d.Warnings, w)
	}
	if j.file != nil && j.info.Links > 1 && d.Action != Unchanged {
		d.warn("image %s: has %d more names, which keep the old content", j.image, j.info.Links-1)
	}
	return nil
}

// warnOwner looks at who owns an image that exists.
func (j *job) warnOwner(d *decision) error {
	uid := j.info.UID
	if uid == 0 || int64(uid) == int64(os.Geteuid()) {
		return nil
	}
	who, err := writable(j.dirPath)
	if err != nil {
		return err
	}
	if who != "" {
		return fmt.Errorf("image %s: belongs to uid %d, who may have put it there to read what is written into it: %s", j.image, uid, who)
	}
	d.warn("image %s: belongs to uid %d, who can read what is in it", j.image, uid)
	return nil
}
