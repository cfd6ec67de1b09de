package initrdsecrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// unsafeInStage1 are the bytes of a file name that the copy loops of NixOS's stage 1 cannot carry; entries of a manifest are
// checked for them when it is read, files below a source directory here.
const unsafeInStage1 = " \t\r\n\v\f*?[]\\"

// sourceEntries reads what an entry's source on this host is: a file, a directory with all that is below it, or a symbolic
// link to one of them. Modes are those of the host unless the entry has one; owners are always the entry's, since the
// numbers of this host mean nothing in the image.
//
// The link that a source is gets followed, links below a directory stay links. Warnings name what will not arrive as it is.
func sourceEntries(e manifest.Entry) (entries []initrd.Entry, warnings []string, err error) {
	info, err := os.Stat(e.Source)
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	if info.IsDir() {
		return directoryEntries(e)
	}
	data, mode, err := readFile(os.OpenFile, e.Source, unix.O_NONBLOCK)
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	if e.Mode != nil {
		mode = *e.Mode
	}
	return []initrd.Entry{{Path: e.ImagePath(), Mode: mode, UID: e.UID, GID: e.GID, Data: data}}, nil, nil
}

// directoryEntries walks a source directory. It works below an opened root, so that nothing outside of it is ever read, whatever
// happens to its links meanwhile.
func directoryEntries(e manifest.Entry) (entries []initrd.Entry, warnings []string, err error) {
	root, err := os.OpenRoot(e.Source)
	if err != nil {
		return nil, nil, sourceError(e.Source, err)
	}
	defer func() { _ = root.Close() }() // only read from
	var faults []error
	walk := func(name string, d fs.DirEntry, err error) error {
		host := filepath.Join(e.Source, name)
		if err != nil {
			faults = append(faults, sourceError(host, err))
			return nil
		}
		if strings.ContainsAny(name, unsafeInStage1) {
			faults = append(faults, fmt.Errorf("source %s: %q has white space or a shell wildcard, which stage 1 cannot copy", e.Source, name))
			return nil
		}
		entry, err := below(root, name, d, e.Mode)
		if err != nil {
			faults = append(faults, sourceError(host, err))
			return nil
		}
		entry.Path, entry.UID, entry.GID = path.Join(e.ImagePath(), name), e.UID, e.GID
		if entry.Target != "" && leaves(name, entry.Target) {
			warnings = append(warnings, fmt.Sprintf("source %s: the symbolic link %s points to %s, outside of the directory, and goes into the image as it is",
				e.Source, name, entry.Target))
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
func below(root *os.Root, name string, d fs.DirEntry, declared *fs.FileMode) (initrd.Entry, error) {
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
	data, mode, err := readFile(root.OpenFile, name, unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if declared != nil {
		mode = *declared
	}
	return initrd.Entry{Mode: mode, Data: data}, err
}

// readFile reads a regular file and its permissions; anything else is an error, found without waiting for a writer.
func readFile(open func(string, int, fs.FileMode) (*os.File, error), name string, flags int) ([]byte, fs.FileMode, error) {
	f, err := open(name, os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("is %s; a source is a file, a directory or a symbolic link to one", kind(info.Mode()))
	}
	data, err := io.ReadAll(f)
	return data, permissions(info.Mode()), err
}

// permissions keeps of a mode what chmod sets.
func permissions(m fs.FileMode) fs.FileMode {
	return m & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// searchable gives a directory the mode that belongs to files of the given mode: who may read them may search it, as with
// chmod's X.
func searchable(m fs.FileMode) fs.FileMode {
	m &= fs.ModePerm
	return m | m&0o444>>2
}

// leaves says whether the link at name, relative to a directory, points out of that directory.
func leaves(name, target string) bool {
	return path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) && path.Join(path.Dir(name), target) != "."
}

func kind(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	case fs.ModeSymlink:
		return "a symbolic link"
	default:
		return "a device"
	}
}

// sourceError says which source cannot be read; the path is not repeated.
func sourceError(host string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("source %s: %w", host, err)
}
