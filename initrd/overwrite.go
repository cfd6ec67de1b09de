package initrd

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// This file changes the end of an image in place. Nothing that a power cut can leave behind makes
// the kernel use a part of a file: before anything else is written, the marker's entry is given a
// size that reaches beyond the end of the image, so that the kernel takes all that follows for
// its content, and the last thing written is its true size. These are two digits of one header;
// they always lie in one sector, which a disk writes whole or not at all.
//
// A file on vfat never becomes longer than its clusters, in whatever order the sectors between
// two flushes are written: room for a longer end is taken first and made durable, then comes the
// content, then the size. A file never becomes shorter by a cluster: its directory entry could be
// the older of the two. NULs are written in place of what is not needed any more.

// The digits of the marker's size that are changed: the two highest, at an offset in the header
// that is 2 modulo 4, so that they never lie in two sectors.
const (
	haltField = 54
	haltBytes = 2
	haltUnit  = 1 << 24 // what the lower of the two counts
	maxHalted = math.MaxUint8 * haltUnit
)

const sectorBytes = 512

// halt makes the kernel take so many bytes, at least, that begin with a segment, for the content
// of the marker.
func halt(segment []byte, n int64) {
	copy(segment[haltField:], fmt.Appendf(nil, "%02x", min(n/haltUnit+1, math.MaxUint8)))
}

// freesInOrder reports whether a power cut leaves a file that was truncated as it was or
// truncated. On file systems of the FAT family its directory entry and its clusters are written
// in any order.
func freesInOrder(space atomicfile.Space) bool {
	return space.Type != hostfile.FAT && space.Type != hostfile.ExFAT
}

// movesContent reports whether what is written in place takes new space on such a file system.
func movesContent(magic int64) bool { return sharesBlocks(magic) && magic != hostfile.XFS }

// needInPlace is the space that has to be free for changing the end of the image in place.
func (d *decision) needInPlace(space atomicfile.Space) int64 {
	end := d.Base + int64(len(d.tail))
	if d.segment != nil && movesContent(space.Type) {
		return space.Round(max(end, d.OldSize)-d.Base) + 2*space.Block
	}
	return max(0, space.Round(end)-space.Round(d.OldSize))
}

// beInPlace decides that the end of the image is changed in place.
func (d *decision) beInPlace(image string, space atomicfile.Space) {
	d.InPlace = true
	if d.segment == nil && (freesInOrder(space) || space.Round(d.Base) == space.Round(d.OldSize)) {
		d.Size, d.Written = d.Base, 0
	} else {
		d.Size = max(d.Base+int64(len(d.tail)), d.OldSize)
		d.Written = d.Size - d.Base
	}
	d.wipe = !freesInOrder(space)
	if d.segment == nil && d.Size > d.Base {
		d.warn("image %s: there was no room for a second copy, so NULs were written in place of the segment", image)
		return
	}
	d.warn("image %s: there was no room for a second copy, so its end was overwritten: had the power been cut at that moment, it would have been left without its secrets until the next run", image)
}

// overwrite changes the end of the image in place.
func (j *job) overwrite(d *decision) error {
	f, err := j.dir.OpenWrite(j.name)
	if err != nil {
		return err
	}
	return errors.Join(j.overwriteFile(f, d), f.Close())
}

func (j *job) overwriteFile(f atomicfile.File, d *decision) error {
	if err := j.sameDir(); err != nil {
		return err
	}
	if now, err := f.Stat(); err != nil {
		return err
	} else if now != j.info {
		return fmt.Errorf("image %s: was changed by somebody else meanwhile", j.image)
	}
	if err := j.makeRoom(f, d); err != nil {
		return err
	}
	tail, head, err := d.halted()
	if err != nil {
		return err
	}
	if old := d.OldSize - d.Base; old > 0 {
		j.left = Unknown
		err := put(f, tail[:min(old, head)], d.Base)
		truncates := d.segment == nil && !d.wipe
		// where a file system moves what is written, truncating is still possible
		if err != nil && !(truncates && noSpace(err)) {
			return err
		}
		if err == nil {
			j.left = WithoutSecrets
		}
		if truncates {
			return truncate(f, d)
		}
	}
	if err := j.fillIn(f, d, tail, head); err != nil {
		return err
	}
	j.left = Unknown
	if d.segment != nil {
		at := Padding(d.Base) + haltField
		err = put(f, d.tail[at:at+haltBytes], d.Base+at)
	} else {
		err = erase(f, d.Base, min(head, d.OldSize-d.Base))
	}
	if err != nil || d.Size >= d.OldSize {
		return err
	}
	return truncate(f, d)
}

// halted is what is written behind the base before the last step, and how much of it is the
// padding and the marker that halts the kernel.
func (d *decision) halted() (tail []byte, head int64, err error) {
	end := max(d.Base+int64(len(d.tail)), d.OldSize)
	padding := Padding(d.Base)
	tail = make([]byte, max(end-d.Base, padding+int64(beginHead+beginBytes)))
	segment := d.segment
	if segment == nil {
		if segment, err = (&Segment{}).encode(d.Base, nil); err != nil {
			return nil, 0, err
		}
		segment = segment[:beginHead+beginBytes]
	}
	copy(tail[padding:], segment)
	halt(tail[padding:], end-d.Base)
	return tail[:end-d.Base], min(padding+int64(beginHead+beginBytes), end-d.Base), nil
}

// makeRoom makes sure that the file's clusters reach as far as it will, before its size does.
func (j *job) makeRoom(f atomicfile.File, d *decision) error {
	if d.Size <= d.OldSize {
		return nil
	}
	// What a run before this one was given and did not use would confuse vfat (fat_chain_add of
	// the kernel); truncating to the same size gives it back.
	if err := f.Truncate(d.OldSize); err != nil {
		return err
	}
	if err := f.Allocate(d.Size); err != nil {
		return j.allocateError(d, err)
	}
	err := f.Sync()
	if err != nil {
		err = errors.Join(err, f.Truncate(d.OldSize))
	}
	return err
}

// fillIn writes everything behind the marker, or, where there was nothing behind the base,
// everything.
func (j *job) fillIn(f atomicfile.File, d *decision, tail []byte, head int64) error {
	if d.segment == nil {
		// The rest of the marker in another sector goes now, so that the last step is in one.
		from := min(head, (d.Base/sectorBytes+1)*sectorBytes-d.Base)
		return put(f, make([]byte, int64(len(tail))-from), d.Base+from)
	}
	_, err := f.WriteAt(tail, d.Base)
	if err == nil && d.Size > d.OldSize {
		// The content has to be on the disk when the size is.
		if err = f.Push(); err == nil {
			err = j.dir.Sync()
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil || d.OldSize > d.Base {
		return err
	}
	// There was nothing behind the base, and there shall be nothing.
	j.left = Unknown
	undo := errors.Join(f.Truncate(d.OldSize), f.Sync())
	if undo == nil {
		j.left = Untouched
	}
	return errors.Join(err, undo)
}

// truncate cuts what is behind the base, of which the kernel uses nothing any more.
func truncate(f atomicfile.File, d *decision) error {
	if err := f.Truncate(d.Base); err != nil {
		return err
	}
	return f.Sync()
}

// erase writes NULs from the end to the beginning, byte by byte: wherever it is stopped, what is
// left begins as a segment of ours.
func erase(f atomicfile.File, off, n int64) error {
	for at := off + n - 1; at >= off; at-- {
		if _, err := f.WriteAt([]byte{0}, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// put writes and syncs.
func put(f atomicfile.File, p []byte, off int64) error {
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	return f.Sync()
}

// allocateError tells a full disk, on which nothing was changed, from other faults.
func (j *job) allocateError(d *decision, err error) error {
	if !noSpace(err) {
		return err
	}
	space, spaceErr := j.dir.Space()
	if spaceErr != nil {
		return errors.Join(err, spaceErr)
	}
	return &NoSpaceError{
		Image: j.image, Need: d.needInPlace(space), Free: space.Free,
		InPlace: true, cause: err,
	}
}
