package bootloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Entry is something that a loader can boot: a NixOS system, which has init=TOPLEVEL/init among
// its kernel parameters.
type Entry struct {
	Title    string
	Toplevel string   // the system, as named in its kernel parameters
	Initrds  []string // its initrds on this host, in the order in which they are loaded
	// Embedded says that the initrd is inside a unified kernel image, which Initrds then names.
	Embedded bool
	// Default says that it is booted when nobody chooses, as far as the menu tells.
	Default bool
	// InPlace says that the file has a fixed name, and that no other system loads it.
	InPlace bool

	// file, below the boot directory, names the initrd, alone in this line; see unchangeable.
	file   string
	line   int
	number int // of the entry among all that the menu lists
	// variable says that file is a variable of the firmware.
	variable bool
}

// Odd is a file of a menu that could not be read.
type Odd struct {
	File string
	Err  error
}

// Menu is what a loader can boot.
type Menu struct {
	Kind    Kind
	Entries []Entry
	Odd     []Odd

	dir       *Dir
	preferred string   // what the menu says of its default
	foreign   []string // files that entries of other systems load
}

// Read reads the menu of one kind. The error is fs.ErrNotExist when there is none of that kind. A
// file that cannot be read costs nothing but its own entries.
func Read(kind Kind, d *Dir) (*Menu, error) {
	l := rowOf(kind)
	m := &Menu{Kind: kind, dir: d}
	seen := newFiles()
	for _, pattern := range l.files {
		found, err := d.glob(pattern)
		if err != nil {
			m.Odd = append(m.Odd, Odd{d.host(path.Dir(pattern)), err})
		}
		for _, file := range found {
			if seen.has(d.host(file)) {
				continue
			}
			seen.add(d.host(file))
			entries, err := m.readFile(l, file)
			if err != nil {
				m.Odd = append(m.Odd, Odd{d.host(file), err})
			}
			m.Entries = append(m.Entries, entries...)
		}
	}
	if len(seen.names) == 0 && len(m.Odd) == 0 {
		return nil, &fs.PathError{Op: "find a menu of " + string(kind), Path: d.path, Err: fs.ErrNotExist}
	}
	if l.chosen != nil {
		l.chosen(m)
	}
	return m, nil
}

func (m *Menu) readFile(l loader, file string) ([]Entry, error) {
	f, err := m.dir.open(file)
	if err != nil {
		return nil, err
	}
	entries, err := l.read(m, file, f)
	if err != nil {
		err = fmt.Errorf("read boot menu %s: %w", m.dir.host(file), err)
	}
	return entries, errors.Join(err, f.Close())
}

// Find reads all menus that are there.
func Find(d *Dir) ([]*Menu, error) {
	var all []*Menu
	for _, kind := range Kinds() {
		m, err := Read(kind, d)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case len(m.Entries) > 0 || len(m.Odd) > 0 || len(m.foreign) > 0:
			all = append(all, m)
		}
	}
	return all, nil
}

// store is the only place outside the boot directory that an entry may load from: GRUB does so
// where the store is on the partition that it reads.
const store = "/nix/store/"

// host turns a name in a file of the menu into a path on this host. The first that exists counts,
// else the first. Whatever the name says, it stays below the boot directory or the store.
func (m *Menu) host(file, name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	if !path.IsAbs(name) {
		return m.dir.host(path.Clean("/" + path.Join(path.Dir(file), name)))
	}
	name = path.Clean(name)
	candidates := []string{name}
	if rest, ok := strings.CutPrefix(name, "/boot/"); ok { // /boot is no file system of its own
		candidates = append(candidates, rest)
	}
	for _, c := range candidates {
		if _, err := m.dir.root.Stat(strings.TrimPrefix(c, "/")); err == nil {
			return m.dir.host(c)
		}
	}
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() && strings.HasPrefix(name, store) {
		return name
	}
	return m.dir.host(name)
}

// onHost is host for menus that name files by their paths on this host.
func (m *Menu) onHost(file, name string) string {
	if filepath.IsAbs(name) {
		if rel, ok := m.dir.below(name); ok {
			return m.dir.host(rel)
		}
	}
	return m.host(file, name)
}
