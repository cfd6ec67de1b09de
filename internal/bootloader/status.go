package bootloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/bootmenu"
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
	Loader bootmenu.Kind `json:"loader"`
	Title  string        `json:"title"`
	System string        `json:"system"`
	// Image is the initrd that has the secrets, or the last one where none has.
	Image string              `json:"image"`
	State initrdsecrets.State `json:"state"`
	// Compared says that the secrets were compared with the system's manifest; without it only their wholeness is known.
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
	// Leftovers are files with secrets that no entry loads.
	Leftovers []string `json:"leftovers"`
}

// Lacks says whether anything that can be booted lacks its secrets.
func (s *Status) Lacks() bool {
	return slices.ContainsFunc(s.Entries, func(e EntryStatus) bool { return e.Lacks })
}

// Look reads the menus of all loaders in boot directories and compares the images of their entries with the systems' manifests. It
// needs no key.
//
// variables is where those of the firmware are, which can start a kernel of the first boot directory.
func Look(boots []string, variables string, o initrdsecrets.Options) (*Status, error) {
	status := &Status{Entries: []EntryStatus{}, Leftovers: []string{}}
	used, dirs := make(map[string]bool), make(map[string]bool)
	for n, boot := range boots {
		dirs[canonical(filepath.Join(boot, ownName))] = true
		menus, err := bootmenu.Find(boot)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			firmware := &bootmenu.Menu{Kind: bootmenu.EFIStub, Boot: boot}
			if err := firmware.AddVariables(variables); err != nil && !errors.Is(err, fs.ErrPermission) {
				return nil, err
			}
			menus = append(menus, firmware)
		}
		for _, m := range menus {
			for _, e := range m.Entries {
				s, err := look(m.Kind, e, o)
				if err != nil {
					return nil, fmt.Errorf("entry %q of %s: %w", e.Title, m.Kind, err)
				}
				status.Entries = append(status.Entries, s)
				for _, i := range e.Initrds {
					used[canonical(i)], dirs[canonical(filepath.Dir(i))] = true, true
				}
			}
		}
	}
	var err error
	status.Leftovers, err = leftovers(dirs, used)
	return status, err
}

func look(kind bootmenu.Kind, e bootmenu.Entry, o initrdsecrets.Options) (EntryStatus, error) {
	system := Open(e.Toplevel)
	s := EntryStatus{Loader: kind, Title: e.Title, System: system.Toplevel, State: initrdsecrets.Missing, Compared: system.Manifest != ""}
	wanted := system.Appender != ""
	for _, image := range slices.Backward(e.Initrds) {
		if s.Image == "" {
			s.Image = image
		}
		state, wants, err := verify(system.Manifest, image, e.Embedded, o)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a file that is not there has no secrets
		}
		if err != nil { // the manifest cannot be compared with: a file of the host that it names is gone, for example
			s.Problem, s.Compared = err.Error(), false
			if state, wants, err = verify("", image, e.Embedded, o); err != nil {
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

func verify(manifest, image string, embedded bool, o initrdsecrets.Options) (initrdsecrets.State, bool, error) {
	if !embedded {
		return initrdsecrets.Verify(manifest, image, o)
	}
	r, size, closer, err := bootmenu.EmbeddedInitrd(image)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = closer.Close() }() // only read from
	return initrdsecrets.VerifyReader(manifest, r, size, o)
}

// leftovers are the files of these directories that end in a segment of ours and that nothing loads.
func leftovers(dirs, used map[string]bool) ([]string, error) {
	found := []string{}
	for dir := range dirs {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			name := filepath.Join(dir, f.Name())
			// limine loads a second copy, and its installer keeps the first.
			if !f.Type().IsRegular() || used[canonical(name)] || used[filepath.Join(dir, filepath.Base(dir)+"-"+f.Name())] {
				continue
			}
			_, err := initrdsecrets.Find(name)
			switch {
			case err == nil:
				found = append(found, name)
			case !errors.Is(err, initrd.ErrNoSegment) && !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
	}
	slices.SortFunc(found, strings.Compare)
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
