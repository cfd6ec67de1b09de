package initrdsecrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/frame"
)

// Image is an image opened for reading. Of one that is enclosed in a frame it shows what is inside.
type Image struct {
	io.ReaderAt
	Size     int64
	Enclosed bool
	file     *os.File
}

// Close closes the file.
func (i *Image) Close() error { return i.file.Close() }

// OpenImage opens an image. What is not a regular file is an error.
func OpenImage(name string) (*Image, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return newImage(f)
}

// newImage takes the file over and closes it on failure.
func newImage(f *os.File) (*Image, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("image %s: is %s, not a file", f.Name(), kind(info.Mode()))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	content, err := frame.Unwrap(f, info.Size())
	switch {
	case err == nil:
		return &Image{bytes.NewReader(content), int64(len(content)), true, f}, nil
	case errors.Is(err, frame.ErrOther):
		return &Image{f, info.Size(), false, f}, nil
	}
	return nil, errors.Join(err, f.Close())
}

// Find looks for a segment of ours at the end of an image.
func Find(image string) (*initrd.Installed, error) {
	i, err := OpenImage(image)
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.Close() }() // only read from
	return initrd.Find(i, i.Size)
}
