package initrd

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
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
	} else if hostfile.Modeless(space.Type) {
		dir, err := j.dir.Stat()
		if err != nil {
			return err
		}
		mode = dir.Mode // files get theirs from the mount's options, as directories do
	}
	if open, err := hostfile.ReadableWith(j.dirPath, mode); err != nil {
		return err
	} else if open {
		d.Warnings = append(d.Warnings, Warning{
			Text: fmt.Sprintf("image %s: other users of this host can read its secrets", j.image),
			Hint: hostfile.Closing(j.dirPath, j.image, hostfile.Modeless(space.Type)),
		})
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
	who, err := hostfile.Replacers(j.dirPath)
	if err != nil {
		return err
	}
	if who != "" {
		return fmt.Errorf("image %s: belongs to uid %d, who may have put it there to read what is written into it: %s", j.image, uid, who)
	}
	d.warn("image %s: belongs to uid %d, who can read what is in it", j.image, uid)
	return nil
}
