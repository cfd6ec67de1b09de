package initrd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Action says what Install, Plan or Remove did, or would do, to an image.
type Action string

// The actions.
const (
	Unchanged Action = "unchanged" // nothing was written
	Created   Action = "created"   // the image was missing or empty and now holds a segment alone
	Appended  Action = "appended"  // the image held no segment of ours
	Replaced  Action = "replaced"  // a segment of ours was replaced
	Repaired  Action = "repaired"  // a torn segment or a truncated base was mended
	Removed   Action = "removed"   // a segment of ours was cut and nothing put in its place
)

// Options of [Install], [Plan] and [Remove]. The zero value is usable.
type Options struct {
	// Base names the pristine initrd that the image was made from by the boot loader; "" when it
	// is not known. It is compared with the image, and everything that the image holds behind it
	// is cut, whoever put it there. Where the image ends in a whole segment of ours, which says
	// how long the base before it is, no more than the ends of the base are compared.
	Base string
	// Enclose makes an image that is a segment in a zstd frame and nothing else, for boot loaders
	// that join initrds without padding. Base is then the initrd that will be unpacked before it.
	Enclose bool
	// Name is what messages call the image; "": its path. Some boot loaders have an image made
	// under a name for the moment.
	Name string
	// AllowInPlace lets the end of the image be overwritten where the file system has no room for
	// a second copy and the image holds a whole segment. A power cut at that moment leaves the
	// image with a segment that the kernel passes over, until the next run.
	AllowInPlace bool

	layer atomicfile.Layer // nil: the operating system's
}

// Warning is something to tell the user of a run that did what was asked.
type Warning struct {
	Text string
	Hint string // what to do about it; may be ""
}

// Result says what was, or would be, done.
type Result struct {
	Action Action `json:"action"`
	// the end of the file was overwritten instead of replacing the file
	InPlace bool  `json:"inPlace"`
	OldSize int64 `json:"oldSize"` // bytes of the image before; -1 when it did not exist
	Size    int64 `json:"size"`    // bytes of the image after; -1 when it does not exist
	Length  int64 `json:"segment"` // bytes of the segment; 0 when there is none
	// bytes that were in the image and are gone, an old segment included
	Cut     int64 `json:"cut"`
	Written int64 `json:"written"` // bytes written or copied
	Base    int64 `json:"-"`       // bytes in front of padding and segment
	// where the segment begins, in what is inside of an enclosed image; 0 when there is none
	Offset   int64     `json:"-"`
	Sum      Sum       `json:"-"` // of the segment that the image holds now
	Warnings []Warning `json:"-"`
}

// lockWait is longer than any other run takes: secrets are decrypted before the lock is asked
// for.
const lockWait = 2 * time.Minute

// Install puts s at the end of image, in place of any segment of ours that is there, or, when s
// is empty, cuts that segment.
//
// A missing or empty image becomes one that holds the segment alone. An image that already is as
// it should be is not touched, not even its times. Otherwise the image is replaced as a whole: on
// error, and after a power cut at any moment, it is the old one or the new one. Only where the
// file system has no room for both is the end of the image overwritten, under the conditions of
// [Options.AllowInPlace]; then a power cut can leave the base with a torn segment, of which the
// kernel uses nothing, and which the next run repairs. NULs are left behind a segment that takes
// the place of a longer one.
//
// Without [Options.Base] an image that does not end in a segment of ours is walked as a whole,
// and refused when not all of it is something that the kernel reads: what is appended to such an
// image would be lost.
//
// The new file has the mode and owner of the old one, or 0600 and the caller's. Two runs in one
// directory wait for each other. A run that was killed can leave a temporary file beside the
// image (0600, with the secrets in it), which the next run removes.
//
// When ctx ends, Install waits for nothing any more and does not begin to write. The error is an
// [*Error], which says in what state the image was left.
func Install(ctx context.Context, image string, s *Segment, o Options) (Result, error) {
	if s == nil {
		return Result{}, &Error{State: Untouched, Err: errors.New("no segment to install")}
	}
	return withJob(ctx, image, s, o, true)
}

// Plan makes the decisions of [Install] and writes nothing. The error is the one that Install
// would return, as far as it can be foreseen.
func Plan(ctx context.Context, image string, s *Segment, o Options) (Result, error) {
	if s == nil {
		return Result{}, &Error{State: Untouched, Err: errors.New("no segment to plan for")}
	}
	return withJob(ctx, image, s, o, false)
}

// Remove cuts the segment of ours from image, which is then, byte for byte, as it was before the
// segment came; an enclosed image is gone. An image without a segment is left alone; a missing
// one is no error. Only on vfat without room for a second copy, and with [Options.AllowInPlace],
// NULs take the place of the segment: no file there becomes shorter without the danger of losing
// it in a power cut.
func Remove(ctx context.Context, image string, o Options) (Result, error) {
	return withJob(ctx, image, &Segment{empty: true}, o, true)
}

// job is one run on one image.
type job struct {
	Options
	ctx     context.Context // of the run, which is one call
	image   string          // for messages
	segment *Segment
	dirPath string
	name    string
	held    *atomicfile.Lock
	dir     atomicfile.Dir
	file    atomicfile.File // the image; nil when it does not exist
	info    atomicfile.Info // of the image
	content *Image          // of the image; nil when it does not exist
	base    atomicfile.File // the pristine initrd; nil when it is not known
	baseLen int64
	omit    map[string]bool // entries that the base has; nil until it was compared
	left    State
	hint    string
}

func withJob(ctx context.Context, image string, s *Segment, o Options, write bool) (res Result,
	err error,
) {
	j := &job{Options: o, ctx: ctx, image: cmp.Or(o.Name, image), segment: s, left: Untouched}
	if j.layer == nil {
		j.layer = atomicfile.OS()
	}
	defer func() {
		if err = errors.Join(err, j.close()); err != nil {
			err = &Error{State: j.left, Err: err, Hint: j.hint}
		}
	}()
	if j.dirPath, j.name, err = resolve(image); err != nil {
		return Result{}, err
	}
	if j.dir, err = j.layer.OpenDir(j.dirPath); err != nil {
		return Result{}, err
	}
	var stale error
	if write { // a plan looks at an image that is replaced as a whole, and needs no lock
		if err = j.lock(); err != nil {
			return Result{}, err
		}
		stale = atomicfile.RemoveStale(j.dir)
	}
	if err = j.open(); err != nil {
		return Result{}, err
	}
	d, err := j.decide()
	if err != nil {
		return Result{}, err
	}
	if stale != nil {
		d.warn("a temporary file that an earlier run left could not be removed: %v", stale)
	}
	if err = j.warn(d); err != nil {
		return Result{}, err
	}
	if d.Action == Unchanged {
		return d.Result, nil
	}
	if err = j.room(d); err != nil || !write {
		return d.Result, err
	}
	if err = j.execute(d); err == nil {
		j.left = Changed
	}
	return d.Result, err
}

// lock makes runs in one directory wait for each other.
func (j *job) lock() error {
	info, err := j.dir.Stat()
	if err != nil {
		return err
	}
	tooLong := fmt.Errorf("%w (waited %v)", atomicfile.ErrLocked, lockWait)
	ctx, cancel := context.WithTimeoutCause(j.ctx, lockWait, tooLong)
	defer cancel()
	j.held, err = atomicfile.LockDir(ctx, info)
	return err
}

// stopped is the reason why the run must not go on, nil for none.
func (j *job) stopped() error { return context.Cause(j.ctx) }

// read is a reader of the image or the base that ends with the run.
func (j *job) read(f atomicfile.File) io.ReaderAt { return stoppable{j.ctx, f} }

// open opens image and base.
func (j *job) open() error {
	var err error
	if j.Base != "" {
		if j.base, err = j.layer.Open(j.Base); err != nil {
			return err
		}
	}
	j.file, err = j.dir.Open(j.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		j.file = nil
	case err != nil:
		return err
	default:
		if j.info, err = j.file.Stat(); err != nil {
			return err
		}
		if !j.info.Mode.IsRegular() {
			return fmt.Errorf("image %s: is %s, not a file", j.image, hostfile.Kind(j.info.Mode))
		}
		if j.content, err = NewImage(j.read(j.file), j.info.Size); err != nil {
			return err
		}
	}
	return j.checkBase()
}

func (j *job) checkBase() error {
	if j.base == nil {
		return nil
	}
	info, err := j.base.Stat()
	if err != nil {
		return err
	}
	j.baseLen = info.Size
	switch {
	case !info.Mode.IsRegular():
		return fmt.Errorf("base %s: is %s, not a file", j.Base, hostfile.Kind(info.Mode))
	case info.Size == 0:
		return fmt.Errorf("base %s: is empty", j.Base)
	case j.file != nil && info.SameFile(j.info):
		return fmt.Errorf("base %s: is the image itself", j.Base)
	}
	content, err := NewImage(j.read(j.base), j.baseLen)
	if err != nil {
		return err
	}
	if _, err := locate(content.r, content.size); err == nil {
		return fmt.Errorf("base %s: is not pristine: it ends in a segment of ours", j.Base)
	} else if !errors.Is(err, ErrNoSegment) {
		return err
	}
	return nil
}

func (j *job) close() error {
	var faults []error
	if j.held != nil {
		faults = append(faults, j.held.Remove())
	}
	for _, c := range []io.Closer{j.base, j.file, j.dir} {
		if c != nil {
			faults = append(faults, c.Close())
		}
	}
	return errors.Join(faults...)
}
