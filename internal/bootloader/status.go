package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// States of entries beyond those of images.
const (
	// NotWanted is the state of an entry whose system has no initrd secrets.
	NotWanted initrdsecrets.State = "not wanted"
	// Gone is the state of an entry whose system is not in the store any more.
	Gone initrdsecrets.State = "gone"
)

// EntryStatus is what an installed loader would boot, and with which secrets.
type EntryStatus struct {
	Loader Kind   `json:"loader"`
	Title  string `json:"title"`
	System string `json:"system"`
	// Image is the initrd that has the secrets, or the last one where none has.
	Image string              `json:"image"`
	State initrdsecrets.State `json:"state"`
	// Compared says that the secrets were compared with the system's manifest; without it only
	// their wholeness is known.
	Compared bool `json:"compared"`
	// Problem says why they could not be compared.
	Problem string `json:"problem,omitempty"`
	// Readable says that other users of the host can read the image.
	Readable bool `json:"readable"`
	// Lacks says that the system needs secrets and would not find its own.
	Lacks bool `json:"lacks"`
}

// Status is what is installed.
type Status struct {
	Entries []EntryStatus `json:"entries"`
	// Odd are files of menus, and entries, that could not be read.
	Odd []OddFile `json:"odd"`
	// Leftovers are files with secrets that no entry loads.
	Leftovers []string `json:"leftovers"`
}

// OddFile is something that could not be read, and why.
type OddFile struct {
	File    string `json:"file"`
	Problem string `json:"problem"`
	// nothing says that no loader could boot it.
	nothing bool
}

func oddFile(name string, err error) OddFile {
	return OddFile{name, err.Error(), errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoRegular)}
}

// Lacks says whether anything that can be booted lacks its secrets, or may do so.
func (s *Status) Lacks() bool {
	return slices.ContainsFunc(s.Odd, func(o OddFile) bool { return !o.nothing }) || slices.ContainsFunc(s.Entries, func(e EntryStatus) bool { return e.Lacks })
}

// Look reads the menus of all loaders in boot directories and compares the images of their entries
// with the systems' manifests. It needs no key. variables is where those of the firmware are,
// which can start a kernel of the first boot directory.
func Look(ctx context.Context, boots []string, variables string, o initrdsecrets.Options) (*Status, error) {
	s := &Status{Entries: []EntryStatus{}, Odd: []OddFile{}, Leftovers: []string{}}
	for n, boot := range boots {
		if n > 0 {
			variables = ""
		}
		if err := s.look(ctx, boot, variables, o); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.Leftovers)
	s.Leftovers = slices.Compact(s.Leftovers)
	return s, nil
}

func (s *Status) look(ctx context.Context, boot, variables string, o initrdsecrets.Options) error {
	d, err := OpenDir(boot)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only read from
	menus, err := Find(d)
	if err != nil {
		return err
	}
	for _, l := range table() {
		if l.firmware == nil || variables == "" {
			continue
		}
		m := &Menu{Kind: l.kind, dir: d}
		if err := l.firmware(m, variables); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		menus = append(menus, m)
	}
	used, dirs := newFiles(), map[string]bool{ownName: true}
	for _, m := range menus {
		for _, e := range m.Entries {
			status, err := look(ctx, m, e, o)
			if err != nil {
				s.Odd = append(s.Odd, oddFile(fmt.Sprintf("entry %q of %s", e.Title, m.Kind), err))
			} else {
				s.Entries = append(s.Entries, status)
			}
			for _, i := range e.Initrds {
				used.add(i)
				if rel, ok := d.below(i); ok {
					dirs[path.Dir(rel)] = true
				}
			}
		}
		for _, i := range m.foreign {
			used.add(i)
		}
		for _, odd := range m.Odd {
			s.Odd = append(s.Odd, oddFile(odd.File, odd.Err))
		}
	}
	for dir := range dirs {
		found, err := d.leftovers(ctx, dir, used)
		if err != nil {
			return err
		}
		s.Leftovers = append(s.Leftovers, found...)
	}
	return nil
}

func look(ctx context.Context, m *Menu, e Entry, o initrdsecrets.Options) (EntryStatus, error) {
	system := Open(e.Toplevel)
	s := EntryStatus{Loader: m.Kind, Title: e.Title, System: system.Toplevel, State: initrdsecrets.Missing, Compared: system.Manifest != ""}
	wanted := system.Appender != ""
	for _, image := range slices.Backward(e.Initrds) {
		if s.Image == "" {
			s.Image = image
		}
		info, err := os.Stat(image)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a file that is not there has no secrets
		}
		if err == nil && !info.Mode().IsRegular() {
			err = &fs.PathError{Op: "open", Path: image, Err: errNoRegular}
		}
		if err != nil {
			return s, err
		}
		state, wants, err := verify(ctx, system.Manifest, image, e.Embedded, o)
		if err != nil { // the manifest cannot be compared with: a file of the host that it names is gone, for example
			s.Problem, s.Compared = err.Error(), false
			if state, wants, err = verify(ctx, "", image, e.Embedded, o); err != nil {
				return s, err
			}
		}
		wanted = wanted && wants
		if state != initrdsecrets.Missing {
			s.Image, s.State = image, state
			break
		}
	}
	if s.Image != "" {
		readable, err := initrdsecrets.ReadableByOthers(s.Image)
		if err != nil {
			return s, err
		}
		s.Readable = readable && s.State != initrdsecrets.Missing
	}
	switch {
	case system.Gone():
		s.State, s.Lacks = Gone, false
	case !wanted && s.State == initrdsecrets.Missing:
		s.State = NotWanted
	default:
		s.Lacks = !s.State.Fine(wanted)
	}
	return s, nil
}

func verify(ctx context.Context, manifest, image string, embedded bool, o initrdsecrets.Options) (initrdsecrets.State, bool, error) {
	if !embedded {
		return initrdsecrets.Verify(ctx, manifest, image, o)
	}
	r, size, closer, err := EmbeddedInitrd(image)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = closer.Close() }() // only read from
	return initrdsecrets.VerifyReader(ctx, manifest, r, size, o)
}

// leftovers are the files of a directory that end in a segment of ours and that nothing loads. A
// directory that is reached through a link is not looked into: what is found may be removed.
func (d *Dir) leftovers(ctx context.Context, dir string, used *files) ([]string, error) {
	found := []string{}
	files, err := d.readDir(dir)
	if err != nil {
		return nil, nil //nolint:nilerr // a link, or no directory: nothing of ours
	}
	for _, f := range files {
		name := d.host(path.Join(dir, f.Name()))
		// limine loads a second copy, and its installer keeps the first.
		second := d.host(path.Join(dir, path.Base(dir)+"-"+f.Name()))
		if !f.Type().IsRegular() || used.has(name) || used.has(second) {
			continue
		}
		if _, err := initrdsecrets.Find(ctx, name); err == nil {
			found = append(found, name)
		}
	}
	return found, nil
}

// Clean removes leftovers. What cannot be removed is reported, joined; the rest is gone.
func (s *Status) Clean() error {
	var faults []error
	kept := []string{}
	for _, name := range s.Leftovers {
		if err := os.Remove(name); err != nil {
			faults, kept = append(faults, err), append(kept, name)
		}
	}
	s.Leftovers = kept
	return errors.Join(faults...)
}
