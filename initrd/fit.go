package initrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// place is what a base has at a path.
type place struct {
	mode  fs.FileMode // its type
	links uint32
}

// fit compares the entries that the base could have, too, with the base they will be unpacked
// over, and says which of them to omit: a directory that the base has is left to it, since an
// entry of ours would change its mode and owner. A symbolic link or file of the base where we
// need a directory is an error: the kernel would replace a link by an empty directory.
func (s *Segment) fit(ctx context.Context, base io.ReaderAt, size int64) (omit map[string]bool,
	warnings []Warning, err error,
) {
	places, err := s.places(ctx, base, size)
	if err != nil {
		return nil, nil, err
	}
	omit = make(map[string]bool)
	var faults []error
	for _, e := range s.outside() {
		at, found := places[e.Path]
		dir := e.Mode.IsDir()
		switch {
		case dir && found && at.mode.IsDir() && s.salvaged:
			faults = append(faults,
				fmt.Errorf("entry %q: the segment was made for another base: this one has the directory",
					e.Path))
		case dir && found && at.mode.IsDir():
			omit[e.Path] = true
			if !s.implied[e.Path] {
				warnings = append(warnings,
					Warning{Text: fmt.Sprintf("directory %q is in the base and keeps its mode and owner", e.Path)})
			}
		case dir && found:
			faults = append(faults,
				fmt.Errorf("entry %q: the base has %s there, which a directory would replace", e.Path,
					hostfile.Kind(at.mode)))
		case found && at.mode.IsDir():
			faults = append(faults,
				fmt.Errorf("entry %q: the base has a directory there, and the kernel would drop the entry",
					e.Path))
		case found && at.mode.IsRegular() && at.links > 1 && e.Mode.IsRegular():
			faults = append(faults,
				fmt.Errorf("entry %q: the base has a hard link there, whose other names would change, too",
					e.Path))
		}
		if s.salvaged && !s.parentExists(e, places) {
			faults = append(faults,
				fmt.Errorf("entry %q: the segment was made for another base: this one has no directory %q",
					e.Path, path.Dir(e.Path)))
		}
	}
	return omit, warnings, errors.Join(faults...)
}

// need begins a sentence about what the entries need that the base could have, too.
func (s *Segment) need() string {
	if s.profile.CopyDir == "" {
		return "the entries need"
	}
	return fmt.Sprintf("entries outside %s need", s.profile.CopyDir)
}

func (s *Segment) parentExists(e Entry, places map[string]place) bool {
	dir := path.Dir(e.Path)
	if dir == "/" || places[dir].mode.IsDir() {
		return true
	}
	for _, other := range s.entries {
		if other.Path == dir {
			return true
		}
	}
	return false
}

// places walks the base and returns what it has at and above the paths of these entries.
func (s *Segment) places(ctx context.Context, base io.ReaderAt, size int64) (map[string]place,
	error,
) {
	wanted := make(map[string]bool)
	for _, e := range s.outside() {
		for p := e.Path; p != "/"; p = path.Dir(p) {
			wanted[p] = true
		}
	}
	found := make(map[string]place)
	w := &walker{ctx: ctx, r: base, size: size, visit: func(h *header) {
		if p := path.Clean("/" + h.name); wanted[p] {
			found[p] = place{typeOf(h.mode), h.links} // a later entry replaces an earlier one
		}
	}}
	if err := w.walk(); err != nil {
		return nil, err
	}
	if n := len(w.parts); n > 0 && w.parts[n-1].stop {
		return nil, fmt.Errorf("%s a base that can be read as a whole: %s at offset %d", s.need(),
			w.parts[n-1].Problem, w.parts[n-1].Offset)
	}
	return found, nil
}

// typeOf is the type in a mode field.
func typeOf(mode uint32) fs.FileMode {
	switch mode & typeMask {
	case typeRegular:
		return 0
	case typeDir:
		return fs.ModeDir
	case typeSymlink:
		return fs.ModeSymlink
	}
	return fs.ModeIrregular
}
