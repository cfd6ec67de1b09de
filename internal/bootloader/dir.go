package bootloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is an opened boot directory. Whoever can write to the boot partition can put anything into
// it, so a name below it never leads out of it: not by "..", not by a symbolic link.
//
// For what is only read, links inside the directory are followed. A mount inside it is part of it:
// only root can have mounted that. What is written or removed is reached without any link.
type Dir struct {
	path string // as the user gave it
	abs  string
	root *os.Root
}

// OpenDir opens a boot directory. The path itself is the user's: its links are followed.
func OpenDir(boot string) (*Dir, error) {
	abs, err := filepath.Abs(boot)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, err
	}
	return &Dir{boot, abs, root}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// host is the path on this host of a name below the directory.
func (d *Dir) host(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// below is the name below the directory of a path on this host; ok is false where it is elsewhere.
func (d *Dir) below(name string) (rel string, ok bool) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", false
	}
	for _, dir := range []string{d.abs, real(d.abs)} {
		rel, err := filepath.Rel(dir, abs)
		if err == nil && rel != "." && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel), true
		}
	}
	return "", false
}

// real is a path without links; the path itself where that cannot be told.
func real(name string) string {
	if r, err := filepath.EvalSymlinks(name); err == nil {
		return r
	}
	return name
}

// glob lists names below the directory that match a pattern of [path.Match], sorted. Unlike
// fs.Glob it opens nothing but directories. A directory that cannot be read costs what is in it.
func (d *Dir) glob(pattern string) ([]string, error) {
	found := []string{""}
	var faults []error
	for step := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range found {
			if !strings.ContainsAny(step, "*?[") {
				name := path.Join(dir, step)
				if _, err := d.root.Lstat(name); err == nil {
					next = append(next, name)
				}
				continue
			}
			if info, err := d.root.Stat(path.Join(dir, ".")); err != nil || !info.IsDir() {
				continue
			}
			files, err := d.list(path.Join(dir, "."))
			faults = append(faults, err)
			for _, f := range files {
				if ok, err := path.Match(step, f.Name()); err == nil && ok {
					next = append(next, path.Join(dir, f.Name()))
				}
			}
		}
		found = next
	}
	return found, errors.Join(faults...)
}

// list lists a directory, sorted.
func (d *Dir) list(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, d.named(err)
	}
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, errors.Join(err, f.Close())
}

// open opens a regular file for reading, and never waits for a FIFO or wakes a device.
func (d *Dir) open(name string) (*os.File, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, d.named(err)
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: d.host(name), Err: errNoRegular}
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, d.named(err)
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: d.host(name), Err: errNoRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ours makes sure that a name below the directory is a regular file that is reached without links,
// and says where on this host it is.
func (d *Dir) ours(name string) (string, error) {
	var way string
	for step := range strings.SplitSeq(path.Clean(name), "/") {
		way = path.Join(way, step)
		info, err := d.root.Lstat(way)
		if err != nil {
			return "", d.named(err)
		}
		switch {
		case way != path.Clean(name) && !info.IsDir():
			return "", &fs.PathError{Op: "open", Path: d.host(way), Err: errors.New("is not a directory")}
		case way == path.Clean(name) && !info.Mode().IsRegular():
			return "", &fs.PathError{Op: "open", Path: d.host(way), Err: errNoRegular}
		}
	}
	return d.host(name), nil
}

// named gives an error of the root the path on this host.
func (d *Dir) named(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && !filepath.IsAbs(at.Path) {
		return &fs.PathError{Op: strings.TrimSuffix(at.Op, "at"), Path: d.host(at.Path), Err: at.Err}
	}
	return err
}

// Files is a set of files. Two names of one file are the same: on FAT those that differ in case,
// and those of a link.
type files struct {
	ids   map[[2]uint64]bool
	names map[string]bool
}

func newFiles() *files {
	return &files{make(map[[2]uint64]bool), make(map[string]bool)}
}

// add notes a file of this host, whether it exists or not.
func (s *files) add(name string) {
	id, ok := fileID(name)
	if ok {
		s.ids[id] = true
	}
	s.names[foldedName(name)] = true
}

// has says whether a file of this host is in the set. It compares names as well: FAT has no
// lasting numbers of files.
func (s *files) has(name string) bool {
	id, ok := fileID(name)
	return ok && s.ids[id] || s.names[foldedName(name)]
}

func fileID(name string) (id [2]uint64, ok bool) {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return id, false
	}
	return [2]uint64{uint64(st.Dev), st.Ino}, true //nolint:unconvert // 32 bits on some platforms
}

func foldedName(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return strings.ToLower(filepath.Join(real(filepath.Dir(name)), filepath.Base(name)))
}

// readDir lists a directory below the boot directory that is reached without links; none is empty.
func (d *Dir) readDir(name string) ([]fs.DirEntry, error) {
	var way string
	for step := range strings.SplitSeq(path.Clean(name), "/") {
		way = path.Join(way, step)
		info, err := d.root.Lstat(way)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, d.named(err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s is %s, not a directory", d.host(way), describe(info.Mode()))
		}
	}
	return d.list(name)
}

func describe(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	}
	return "a special file"
}
