package initrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Image is an image that is open for reading. Where it is [Options.Enclose]d, all methods show
// what is inside.
//
// Everything that reads ends with its context, whose cause is then in the error.
type Image struct {
	r        io.ReaderAt
	size     int64
	enclosed bool
	file     io.Closer
}

// Open opens the image of that name, which must be a regular file; symbolic links are followed.
func Open(name string) (*Image, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	i, err := openFile(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	i.file = f
	return i, nil
}

func openFile(f *os.File) (*Image, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("image %s: is %s, not a file", f.Name(), hostfile.Kind(info.Mode()))
	}
	return NewImage(f, info.Size())
}

// NewImage looks at an image of the given size that the caller has opened, such as a part of
// another file. [Image.Close] does not close r.
func NewImage(r io.ReaderAt, size int64) (*Image, error) {
	inside, err := openEnclosed(r, size)
	if err != nil || inside == nil {
		return &Image{r: r, size: size}, err
	}
	return &Image{r: inside, size: inside.size, enclosed: true}, nil
}

// Close closes what [Open] opened.
func (i *Image) Close() error {
	if i.file == nil {
		return nil
	}
	return i.file.Close()
}

// Size is the length of the image, or of what is inside.
func (i *Image) Size() int64 { return i.size }

// Enclosed reports whether the image is a segment of ours in a zstd frame, and nothing else.
func (i *Image) Enclosed() bool { return i.enclosed }

// Segment looks for a segment of ours at the end of the image. It reads the tail of the image and
// the segment, nothing of the base.
//
// The error is [ErrNoSegment] when the image does not end in a segment of ours that lies where it
// says it lies: then there can still be a torn one, or one with something behind it, which
// [Image.Layout] finds. A segment that is found and not whole was damaged after it was installed,
// or is of an unknown version.
func (i *Image) Segment(ctx context.Context) (*Installed, error) {
	return find(i.with(ctx),
		i.size)
}

// Verify reports whether the image ends in a whole segment of ours that was made from the given
// inputs; a nil want takes any. The error is [ErrNoSegment], [ErrVersion], [ErrDamaged] or
// [ErrStale], or that of reading.
func (i *Image) Verify(ctx context.Context, want *Digest) error {
	return verify(i.with(ctx), i.size, want)
}

// Entries describes the entries of the segment, added parents included. The errors are those of
// [Image.Verify] with a nil digest.
func (i *Image) Entries(ctx context.Context) ([]EntryInfo, error) {
	r := i.with(ctx)
	in, err := find(r, i.size)
	if err != nil {
		return nil, err
	}
	return entries(r, in)
}

// Extract takes a whole segment out of the image, to be installed into the same or another image,
// behind any base, without the sources it was made from. Its [Sum] stays the same. Whether it can
// be trusted the caller decides before: who can write the image can write any segment.
//
// The error is [ErrDamaged] when the segment is not, byte for byte, one that this package would
// have written with this profile; the others are those of [Image.Verify] with a nil digest.
func (i *Image) Extract(ctx context.Context, p Profile) (*Segment, error) {
	r := i.with(ctx)
	in, err := find(r, i.size)
	if err != nil {
		return nil, err
	}
	return extract(r, in, p)
}

// Layout walks the whole image as the kernel would, decompressing what is compressed, and says
// what it consists of. What is torn, or is nothing that the kernel knows, becomes the last part,
// with its Problem. The memory used does not depend on what the image says about itself. The
// error is one of reading.
func (i *Image) Layout(ctx context.Context) (*Layout, error) {
	w := &walker{ctx: ctx, r: i.with(ctx), size: i.size}
	if err := w.walk(); err != nil {
		return nil, err
	}
	return &Layout{Size: i.size, Parts: w.parts}, nil
}

// HasBase reports whether what stands before the segment is base, byte for byte; of an image
// without a segment, whether all of it is. An enclosed image has no base.
func (i *Image) HasBase(ctx context.Context, base *os.File) (bool, error) {
	info, err := base.Stat()
	if err != nil || i.enclosed {
		return false, err
	}
	r, size := i.with(ctx), i.size
	in, err := find(r, i.size)
	switch {
	case err == nil:
		size = in.Base
	case !errors.Is(err, ErrNoSegment):
		return false, err
	}
	if size != info.Size() {
		return false, nil
	}
	equal, err := commonPrefix(r, size, base, size)
	return equal == size, err
}

func (i *Image) with(ctx context.Context) io.ReaderAt { return stoppable{ctx, i.r} }

// stoppable is a reader that ends with a context: all that can take long reads an image, a piece
// at a time.
type stoppable struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s stoppable) ReadAt(p []byte, off int64) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.ReadAt(p, off)
}
