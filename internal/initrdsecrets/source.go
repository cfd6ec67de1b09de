package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

const (
	// maxSourceBytes bounds the sources of a manifest together: they are in memory at the same time,
	// and kernels on small machines do not unpack more.
	maxSourceBytes = 256 << 20
	// maxSourceFiles bounds the files of one directory: an image takes no more entries.
	maxSourceFiles = 100_000
)

// reader reads sources. It knows how many bytes are left of maxSourceBytes.
type reader struct {
	ctx  context.Context
	left int64
}

// entries reads what an entry's source on this host is: a file, a directory with all that is
// below it, or a symbolic link to one of them. Modes are those of the host unless the entry has
// one; owners are always the entry's, since the numbers of this host mean nothing in the image.
//
// The link that a source is gets followed, links below a directory stay links. Warnings name
// what will not arrive as it is.
func (r *reader) entries(e manifest.Entry) (entries []initrd.Entry, warnings []string, err error) {
	info, err := os.Stat(e.Source)
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	if info.IsDir() {
		return r.directory(e)
	}
	data, mode, err := r.file(os.OpenFile, e.Source, info.Mode())
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	if e.Mode != nil {
		mode = *e.Mode
	}
	return []initrd.Entry{{
		Path: e.ImagePath(), Mode: mode, UID: e.UID, GID: e.GID,
		Data: data,
	}}, nil, nil
}

// directory walks a source directory. It works below an opened root, so that nothing outside of
// it is ever read, whatever happens to its links meanwhile.
func (r *reader) directory(e manifest.Entry) (entries []initrd.Entry, warnings []string,
	err error,
) {
	root, err := os.OpenRoot(e.Source)
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	defer func() { _ = root.Close() }() // only read from
	var faults []error
	walk := func(name string, d fs.DirEntry, err error) error {
		host := filepath.Join(e.Source, name)
		switch {
		case r.ctx.Err() != nil:
			return context.Cause(r.ctx)
		case len(entries) >= maxSourceFiles:
			return fmt.Errorf("more than %d files, which no image takes", maxSourceFiles)
		case err != nil:
			faults = append(faults, sourceError(host, err))
			return nil
		case strings.ContainsAny(name, manifest.CannotCopy):
			faults = append(faults, cli.WithHint(
				fmt.Errorf("source %s: %q has white space or a shell wildcard, which stage 1 cannot copy",
					e.Source, name),
				"rename it, or list what else is needed of the directory, one by one, in boot.initrd.secrets"))
			if d.IsDir() {
				return fs.SkipDir // one name, one fault
			}
			return nil
		}
		entry, err := r.below(root, name, d, e.Mode)
		if err != nil {
			faults = append(faults, sourceError(host, err))
			return nil
		}
		entry.Path, entry.UID, entry.GID = path.Join(e.ImagePath(), name), e.UID, e.GID
		if entry.Target != "" && leaves(name, entry.Target) {
			warnings = append(warnings, fmt.Sprintf("source %s: the symbolic link %q points to %q, "+
				"outside of the directory, and goes into the image as it is", e.Source, name, entry.Target))
		}
		entries = append(entries, entry)
		return nil
	}
	if err := fs.WalkDir(root.FS(), ".", walk); err != nil {
		faults = append(faults, sourceError(e.Source, err))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, nil, err
	}
	return entries, warnings, nil
}

// below makes the entry of one file, directory or symbolic link below root.
func (r *reader) below(root *os.Root, name string, d fs.DirEntry,
	declared *fs.FileMode,
) (initrd.Entry, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return initrd.Entry{}, err
	}
	switch {
	case info.Mode().Type() != d.Type():
		return initrd.Entry{}, errors.New("changed while it was read")
	case info.IsDir():
		mode := permissions(info.Mode())
		if declared != nil {
			mode = searchable(*declared)
		}
		return initrd.Entry{Mode: fs.ModeDir | mode}, nil
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := root.Readlink(name)
		return initrd.Entry{Mode: fs.ModeSymlink | 0o777, Target: target}, err
	}
	open := func(name string, flags int, perm fs.FileMode) (*os.File, error) {
		return root.OpenFile(name, flags|unix.O_NOFOLLOW, perm)
	}
	data, mode, err := r.file(open, name, info.Mode())
	if declared != nil {
		mode = *declared
	}
	return initrd.Entry{Mode: mode, Data: data}, err
}

// file reads a regular file, see [inputfile.ReadWith].
func (r *reader) file(open func(string, int, fs.FileMode) (*os.File, error), name string,
	seen fs.FileMode,
) ([]byte, fs.FileMode, error) {
	data, mode, err := inputfile.ReadWith(open, name, seen, r.left)
	r.left -= int64(len(data))
	var tooLarge inputfile.TooLargeError
	if errors.As(err, &tooLarge) {
		err = fmt.Errorf("too large: the sources of a manifest may have %d MiB together",
			maxSourceBytes>>20)
	}
	return data, permissions(mode), err
}

// permissions keeps of a mode what chmod sets.
func permissions(m fs.FileMode) fs.FileMode {
	return m & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// searchable gives a directory the mode that belongs to files of the given mode: who may read them
// may search it, as with chmod's X.
func searchable(m fs.FileMode) fs.FileMode {
	m &= fs.ModePerm
	return m | m&0o444>>2
}

// leaves says whether the link at name, relative to a directory, points out of that directory.
func leaves(name, target string) bool {
	at := path.Join(path.Dir(name), target)
	return path.IsAbs(target) || !filepath.IsLocal(at) && at != "."
}

// sourceError says which source cannot be read; the path is not repeated.
func sourceError(host string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("source %s: %w", host, err)
}
