package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Generation is a set of installed secrets. It stays the same set while others become live; when
// it is pruned its files vanish.
type Generation struct {
	// Number is 0 where the link leads to something that has none.
	Number uint64
	// Leftover is a real directory in the place of the link: stage 1 of the boot, which copies
	// secrets of the initrd below /run, leaves one. It is no generation, but has files that
	// readers see.
	Leftover bool
	// Note is what Publish was given for this generation; nil if nothing is known.
	Note []byte
	root *os.Root
}

// Current opens the live generation: the directory behind link. It returns nil and no error where
// there is none: no link, one that leads nowhere, or something else than a link or directory.
func Current(mountPoint, link string) (*Generation, error) {
	info, err := os.Stat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP), err == nil && !info.IsDir():
		return nil, nil //nolint:nilnil // there being none is an answer
	case err != nil:
		return nil, fmt.Errorf("find the live generation: %w", err)
	}
	g := &Generation{Number: numberBehind(mountPoint, link)}
	if info, err := os.Lstat(link); err == nil {
		g.Leftover = info.IsDir()
	}
	if g.root, err = os.OpenRoot(link); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it went away
	} else if err != nil {
		return nil, fmt.Errorf("open the live generation: %w", err)
	}
	if g.Number != 0 {
		// A generation of another installer has no note, and an unreadable one is no reason to
		// fail.
		g.Note, _ = os.ReadFile(filepath.Join(mountPoint, noteName(g.Number)))
	}
	return g, nil
}

// numberBehind returns the number of the generation that link points to, 0 if it is something else.
func numberBehind(mountPoint, link string) uint64 {
	target, err := os.Readlink(link)
	if err != nil || filepath.Dir(target) != filepath.Clean(mountPoint) {
		return 0
	}
	return parseNumber(filepath.Base(target))
}

// parseNumber returns 0 for a name that is not that of a generation. Signs and leading zeros are
// not, nor is the number that none can follow: the next one would be 0, which is no generation.
func parseNumber(name string) uint64 {
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil || n == math.MaxUint64 || strconv.FormatUint(n, 10) != name {
		return 0
	}
	return n
}

// Close forgets the generation. A nil one may be closed.
func (g *Generation) Close() error {
	if g == nil {
		return nil
	}
	return g.root.Close()
}

// Read returns a file of the generation. The error is fs.ErrNotExist if there is no such file,
// also where a directory is in its place.
func (g *Generation) Read(name string) (File, error) {
	if g == nil {
		return File{}, fs.ErrNotExist
	}
	f, err := read(g.root, name)
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		err = &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return f, err
}

// Files returns the names of all regular files of the generation, sorted.
func (g *Generation) Files() ([]string, error) {
	if g == nil {
		return nil, nil
	}
	var names []string
	err := fs.WalkDir(g.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}
