package bootloader

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

// SetInitrds makes entries load other initrds, in place of their last: by the index of an entry,
// the name below the boot directory. Files of the menu are replaced as wholes, one after the
// other; on error those before it are changed.
func (m *Menu) SetInitrds(initrds map[int]string) error {
	l := rowOf(m.Kind)
	type place struct {
		file     string
		variable bool
	}
	changes := make(map[place]map[int]string) // by line
	for i, initrd := range initrds {
		e := m.Entries[i]
		if e.line == unchangeable || l.rename == nil {
			return fmt.Errorf("entry %q: its initrd cannot be changed", e.Title)
		}
		at := place{e.file, e.variable}
		if changes[at] == nil {
			changes[at] = make(map[int]string)
		}
		changes[at][e.line] = l.name(m, e.file, initrd)
	}
	order := slices.SortedFunc(maps.Keys(changes), func(a, b place) int {
		return strings.Compare(a.file, b.file)
	})
	for _, at := range order {
		err := error(nil)
		if at.variable {
			err = rewriteVariable(at.file, changes[at][0])
		} else {
			err = m.rewrite(l, at.file, changes[at])
		}
		if err != nil {
			return err
		}
	}
	for i, initrd := range initrds {
		last := len(m.Entries[i].Initrds) - 1
		m.Entries[i].Initrds = append(slices.Clone(m.Entries[i].Initrds[:last]), m.dir.host(initrd))
	}
	return nil
}

func (m *Menu) rewrite(l loader, file string, lines map[int]string) error {
	path, err := m.dir.ours(file)
	if err != nil {
		return err
	}
	f, err := m.dir.open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	old, err := readText(f)
	if err != nil {
		return fmt.Errorf("read boot menu %s: %w", path, err)
	}
	text := strings.Split(old, "\n")
	for n, initrd := range lines {
		if n >= len(text) {
			return fmt.Errorf("boot menu %s: was changed meanwhile", path)
		}
		text[n] = l.rename(text[n], initrd)
	}
	changed := strings.Join(text, "\n")
	if changed == old {
		return nil
	}
	attr := atomicfile.Attr{Mode: info.Mode().Perm(), UID: -1, GID: -1}
	return atomicfile.WriteFile(atomicfile.OS(), path, []byte(changed), attr)
}
