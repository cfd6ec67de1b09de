// Package inputfile reads files that others name: manifests, sops files, keys, templates, sources.
//
// Whatever stands at such a path must not hold up a run or fill its memory. So only regular files
// are read (or what a link to one points to), nothing is waited for, and there is a limit.
package inputfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Read reads the file at path, which may have limit bytes. Errors do not repeat the path.
func Read(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened, which some devices take for an order
	if err != nil {
		return nil, withoutPath(err)
	}
	data, _, err := ReadWith(os.OpenFile, path, info.Mode(), limit)
	return data, err
}

// ReadWith is Read for a file that open opens, below a directory for example. seen is its mode,
// found without opening it; the mode returned is that of the file that was read.
func ReadWith(open func(string, int, fs.FileMode) (*os.File, error), name string,
	seen fs.FileMode, limit int64,
) ([]byte, fs.FileMode, error) {
	if !seen.IsRegular() {
		return nil, 0, notRegular(seen)
	}
	f, err := open(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, withoutPath(err)
	case !info.Mode().IsRegular():
		return nil, 0, notRegular(info.Mode())
	case info.Size() > limit: // also what is sparse, which would take long to read
		return nil, 0, TooLargeError(limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // files of /proc say that they are empty
	if err == nil && int64(len(data)) > limit {
		err = TooLargeError(limit)
	}
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	return data, info.Mode(), nil
}

func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// TooLargeError says that a file is larger than the limit, in bytes.
type TooLargeError int64

func (e TooLargeError) Error() string {
	if e < 1<<20 {
		return fmt.Sprintf("larger than %d bytes", int64(e))
	}
	return fmt.Sprintf("larger than %d MiB", e>>20)
}

func notRegular(m fs.FileMode) error { return fmt.Errorf("is %s, not a file", hostfile.Kind(m)) }
