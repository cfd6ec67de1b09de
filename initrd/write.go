package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
	"github.com/sops-initrd/sops-initrd/internal/progress"
)

// copyBytes are copied at once. Between the pieces a run can be stopped.
const copyBytes = 64 << 20

// room checks, before anything is written, that there will be space, and decides how to write.
func (j *job) room(d *decision) error {
	space, err := j.dir.Space()
	if err != nil {
		return err
	}
	if space.Type == hostfile.FAT && d.Size > math.MaxUint32 {
		return fmt.Errorf("image %s: would be %d bytes long, and a file on vfat cannot be longer than %d", j.image, d.Size, int64(math.MaxUint32))
	}
	need := space.Round(d.Size)
	if sharesBlocks(space.Type) {
		need = space.Round(d.Length) // the copy of the base may take no space: only trying will tell
	}
	if need <= space.Free {
		return nil
	}
	return j.fallBack(d, &NoSpaceError{Image: j.image, Need: need, Free: space.Free}, space)
}

// sharesBlocks reports whether copies on such a file system can share their blocks.
func sharesBlocks(magic int64) bool {
	switch magic {
	case hostfile.Btrfs, hostfile.XFS, hostfile.OCFS2, hostfile.ZFS, hostfile.Bcachefs:
		return true
	}
	return false
}

// fallBack decides to overwrite the end of the image, or returns the reason why that cannot be.
func (j *job) fallBack(d *decision, why *NoSpaceError, space atomicfile.Space) error {
	possible := d.prefix && j.file != nil && j.info.Links == 1 && max(d.Size,
		d.OldSize)-d.Base <= maxHalted
	switch {
	case !possible:
		return why
	case d.whole && !j.AllowInPlace:
		why.Allow = true
		return why
	}
	if need := d.needInPlace(space); need > space.Free {
		return &NoSpaceError{
			Image: j.image, Need: need, Free: space.Free, InPlace: true,
			cause: why.cause,
		}
	}
	if err := j.compareVouched(d); err != nil {
		return err
	}
	d.beInPlace(j.image, space)
	return nil
}

// execute writes what was decided.
func (j *job) execute(d *decision) error {
	if err := j.stopped(); err != nil {
		return err
	}
	if d.InPlace {
		return j.overwrite(d)
	}
	if d.remove {
		return j.removeFile()
	}
	err := j.replace(d)
	if !noSpace(err) || errors.Is(err, atomicfile.ErrUnsynced) {
		return err
	}
	// What the temporary file had taken can be used again when its removal is on the disk.
	synced := j.dir.Sync()
	space, spaceErr := j.dir.Space()
	if fault := errors.Join(synced, spaceErr); fault != nil {
		return errors.Join(err, fault)
	}
	if err := j.fallBack(d, &NoSpaceError{
		Image: j.image, Need: space.Round(d.Size),
		Free: space.Free, cause: err,
	}, space); err != nil {
		return err
	}
	return j.overwrite(d)
}

// replace writes a new file and gives it the image's name.
func (j *job) replace(d *decision) error {
	p, err := atomicfile.Create(j.dir)
	if err != nil {
		return err
	}
	if err := j.fill(p, d); err != nil {
		return errors.Join(err, p.Abort())
	}
	if err := errors.Join(j.stopped(), j.unchangedSince()); err != nil {
		return errors.Join(err, p.Abort())
	}
	err = p.Commit(j.name)
	if errors.Is(err, atomicfile.ErrUnsynced) {
		j.left = Unsynced
	}
	return err
}

// removeFile removes an image that is nothing but a segment.
func (j *job) removeFile() error {
	if err := j.unchangedSince(); err != nil {
		return err
	}
	if err := j.dir.Remove(j.name); err != nil {
		if _, gone := j.dir.Lstat(j.name); !errors.Is(gone, fs.ErrNotExist) {
			return err
		}
	}
	j.left = Unsynced
	return j.dir.Sync()
}

// fill writes the new image, with the owner and mode of the old one.
func (j *job) fill(p *atomicfile.Pending, d *decision) error {
	defer progress.Step(j.ctx, "copying "+j.image)()
	for _, s := range d.keep {
		for s.n > 0 {
			n := min(s.n, copyBytes)
			if _, err := p.CopyFrom(d.from, s.off, n); err != nil {
				return err
			}
			s.off, s.n = s.off+n, s.n-n
			if err := j.stopped(); err != nil {
				return err
			}
		}
	}
	if len(d.tail) > 0 {
		if _, err := p.Write(d.tail); err != nil {
			return err
		}
	}
	if j.file == nil {
		return nil
	}
	now, err := p.Stat()
	if err != nil {
		return err
	}
	// Where a file system has no owners or modes, all its files have the same.
	if now.UID != j.info.UID || now.GID != j.info.GID {
		if err := p.Chown(int(j.info.UID), int(j.info.GID)); err != nil {
			return err
		}
	}
	if mode := j.info.Mode.Perm(); now.Mode.Perm() != mode {
		return p.Chmod(mode)
	}
	return nil
}

// sameDir makes sure that the image's path still means the directory that was opened.
func (j *job) sameDir() error {
	opened, err := j.dir.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(j.dirPath)
	if err != nil {
		return err
	}
	//nolint:unconvert // the type differs between architectures
	if st := now.Sys().(*syscall.Stat_t); uint64(st.Dev) != opened.Dev || st.Ino != opened.Ino {
		return fmt.Errorf("image %s: its directory was exchanged by somebody else meanwhile", j.image)
	}
	return nil
}

// unchangedSince makes sure that the name still means the file that was looked at.
func (j *job) unchangedSince() error {
	if err := j.sameDir(); err != nil {
		return err
	}
	now, err := j.dir.Lstat(j.name)
	switch {
	case j.file == nil && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case j.file == nil || err != nil || now != j.info:
		return fmt.Errorf("image %s: was changed by somebody else meanwhile", j.image)
	}
	return nil
}
