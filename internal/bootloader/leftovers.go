package bootloader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// scan looks for files that nothing loads, in the directories that installers and we write to.
type scan struct {
	dir  *Dir
	used *files
	dirs map[string]bool // with images; in others only temporary files are looked for
}

func newScan(d *Dir) *scan {
	return &scan{d, newFiles(), map[string]bool{ownName: true, ".": false}}
}

// add notes what an entry loads.
func (s *scan) add(e Entry) {
	for _, i := range e.Initrds {
		s.used.add(i)
		if rel, ok := s.dir.below(i); ok {
			s.dirs[path.Dir(rel)] = true
		}
	}
	if dir := path.Dir(e.file); !e.variable && !s.dirs[dir] {
		s.dirs[dir] = false
	}
}

// foreign notes what entries of other systems load: that is in use, whatever it holds.
func (s *scan) foreign(m *Menu) {
	for _, i := range m.foreign {
		s.used.add(i)
	}
}

// files are those that end in a segment of ours and that nothing loads, and temporary ones of runs
// that were killed. A directory that is reached through a link is not looked into: what is found
// may be removed.
func (s *scan) files(ctx context.Context) (leftovers, temporary []string) {
	for dir, images := range s.dirs {
		files, err := s.dir.readDir(dir)
		if err != nil {
			continue // a link, or no directory: nothing of ours
		}
		for _, f := range files {
			name := s.dir.host(path.Join(dir, f.Name()))
			// limine loads a second copy, and its installer keeps the first.
			second := s.dir.host(path.Join(dir, path.Base(dir)+"-"+f.Name()))
			switch {
			case !f.Type().IsRegular(), s.used.has(name), s.used.has(second):
			case s.isTemp(name):
				temporary = append(temporary, name)
			case images && holdsSecrets(ctx, name):
				leftovers = append(leftovers, name)
			}
		}
	}
	return leftovers, temporary
}

// isTemp says whether a file has the name of a temporary one: of package atomicfile, which a run
// that lives has locked, or of an image of ours or that an entry loads.
func (s *scan) isTemp(name string) bool {
	if atomicfile.IsTemp(filepath.Base(name)) {
		return true
	}
	i := len(name) - tempRandom - len(tempSuffix)
	if i <= 0 || !tempEnd().MatchString(name[i:]) {
		return false
	}
	own := filepath.Dir(name) == s.dir.host(ownName)
	return (own || s.used.has(name[:i])) && isArchive(name)
}

func holdsSecrets(ctx context.Context, name string) bool {
	_, err := initrdsecrets.Find(ctx, name)
	return err == nil
}

// Clean removes leftovers and temporary files. What cannot be removed is reported, joined; the
// rest is gone. Temporary files that a run is working on stay.
func (s *Status) Clean() error {
	var faults []error
	for _, list := range []*[]string{&s.Leftovers, &s.Temporary} {
		kept := []string{}
		for _, name := range *list {
			err := s.remove(name)
			if err != nil {
				faults = append(faults, err)
			}
			if _, there := os.Lstat(name); there == nil {
				kept = append(kept, name)
			} else if err == nil {
				s.Removed = append(s.Removed, name)
			}
		}
		*list = kept
	}
	return errors.Join(faults...)
}

// remove removes a file that was found a moment ago, if it is still there and reached without
// links.
func (s *Status) remove(name string) error {
	d, err := OpenDir(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only read from
	base := filepath.Base(name)
	if atomicfile.IsTemp(base) {
		return removeStale(d)
	}
	_, err = d.ours(base)
	if err == nil {
		err = d.root.Remove(base)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeStale removes those temporary files of a directory that no run has locked.
func removeStale(d *Dir) error {
	dir, err := atomicfile.OS().OpenDir(d.abs)
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.RemoveStale(dir), dir.Close())
}
