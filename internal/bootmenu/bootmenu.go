// Package bootmenu reads what an installed boot loader can boot: its entries with their initrds, and which NixOS system each
// of them starts. For the loaders whose entries can name another initrd it also writes that change.
//
// The forms are those that NixOS's installers write (nixpkgs, nixos/modules/system/boot/loader): every entry has init=TOPLEVEL/init
// among its kernel parameters. Entries without it are somebody else's and are left out.
package bootmenu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sops-initrd/internal/atomicfile"
)

// Kind is a boot loader, or rather the form of its menu.
type Kind string

// The kinds of menus.
const (
	SystemdBoot Kind = "systemd-boot" // loader/entries/*.conf of the Boot Loader Specification
	GRUB        Kind = "grub"         // grub/grub.cfg
	Limine      Kind = "limine"       // limine/limine.conf
	Extlinux    Kind = "extlinux"     // extlinux/extlinux.conf, also read by U-Boot
	REFInd      Kind = "refind"       // efi/refind/refind.conf, or efi/boot/refind.conf
	Lanzaboote  Kind = "lanzaboote"   // EFI/Linux/*.efi: stubs and unified kernel images
)

// Kinds are all kinds, in the order in which Find looks for them.
func Kinds() []Kind { return []Kind{SystemdBoot, Lanzaboote, GRUB, Limine, Extlinux, REFInd} }

// Entry is something the loader can boot.
type Entry struct {
	Title    string
	Toplevel string   // the NixOS system it starts, as named in its kernel parameters
	Initrds  []string // its initrds on this host, in the order in which they are loaded
	// Embedded says that the initrd is inside a unified kernel image, which Initrds then names.
	Embedded bool

	// line is where the (only) initrd is named in the file of the menu; -1 where it cannot be changed.
	file string
	line int
}

// Menu is what a loader can boot.
type Menu struct {
	Kind    Kind
	Boot    string // where the loader's partition is mounted
	Entries []Entry
}

// patterns are the files of a menu, below the boot directory. FAT does not mind upper case, other file systems do.
var patterns = map[Kind][]string{
	SystemdBoot: {"loader/entries/*.conf"},
	GRUB:        {"grub/grub.cfg"},
	Limine:      {"limine/limine.conf"},
	Extlinux:    {"extlinux/extlinux.conf"},
	REFInd:      {"efi/refind/refind.conf", "EFI/refind/refind.conf", "efi/boot/refind.conf", "EFI/BOOT/refind.conf"},
	Lanzaboote:  {"EFI/Linux/*.efi"},
}

// initOf finds the system that kernel parameters start.
var initOf = regexp.MustCompile(`(?:^|[\s"])init=(\S+)/init(?:[\s"]|$)`)

// Read reads the menu of one kind. The error is fs.ErrNotExist when there is none of that kind.
func Read(kind Kind, boot string) (*Menu, error) {
	m := &Menu{Kind: kind, Boot: boot}
	found := make(map[string]bool)
	var infos []fs.FileInfo
	for _, pattern := range patterns[kind] {
		files, err := filepath.Glob(filepath.Join(boot, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				return nil, err
			}
			if found[file] || slices.ContainsFunc(infos, func(o fs.FileInfo) bool { return os.SameFile(o, info) }) {
				continue
			}
			found[file], infos = true, append(infos, info)
			entries, err := m.readFile(file)
			if err != nil {
				return nil, fmt.Errorf("read boot menu %s: %w", file, err)
			}
			m.Entries = append(m.Entries, entries...)
		}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: "find a menu of " + string(kind), Path: boot, Err: fs.ErrNotExist}
	}
	return m, nil
}

// Find reads all menus that are there.
func Find(boot string) ([]*Menu, error) {
	var all []*Menu
	for _, kind := range Kinds() {
		m, err := Read(kind, boot)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case len(m.Entries) > 0:
			all = append(all, m)
		}
	}
	return all, nil
}

func (m *Menu) readFile(file string) ([]Entry, error) {
	if m.Kind == Lanzaboote {
		return m.image(file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &parser{menu: m, file: file}
	for n, line := range strings.Split(string(data), "\n") {
		p.take(n, line)
	}
	p.finish()
	return p.entries, nil
}

// host turns a path of the menu into one of this host. The first that exists counts, else the first.
func (m *Menu) host(file, name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	var candidates []string
	if path.IsAbs(name) {
		candidates = append(candidates, filepath.Join(m.Boot, name))
		if rest, ok := strings.CutPrefix(name, "/boot/"); ok { // /boot is no file system of its own
			candidates = append(candidates, filepath.Join(m.Boot, rest))
		}
		candidates = append(candidates, name)
	} else {
		candidates = append(candidates, filepath.Join(filepath.Dir(file), name))
	}
	for _, c := range candidates {
		if _, err := os.Stat(c); err == nil {
			return c
		}
	}
	return candidates[0]
}

// SetInitrds makes entries load other initrds: by the index of an entry, the path on this host. The menu's files are replaced as
// wholes, one after the other; on error those before it are changed. The loader must have a form in which an entry names one
// initrd: extlinux, rEFInd, Boot Loader Specification.
func (m *Menu) SetInitrds(initrds map[int]string) error {
	files := make(map[string]map[int]string) // by line
	for i, initrd := range initrds {
		e := m.Entries[i]
		if e.line < 0 {
			return fmt.Errorf("entry %q: its initrd cannot be changed", e.Title)
		}
		name, err := m.menuPath(e.file, initrd)
		if err != nil {
			return err
		}
		if files[e.file] == nil {
			files[e.file] = make(map[int]string)
		}
		files[e.file][e.line] = name
	}
	for _, file := range slices.Sorted(keys(files)) {
		if err := rewrite(file, files[file]); err != nil {
			return err
		}
	}
	for i, initrd := range initrds {
		m.Entries[i].Initrds = []string{initrd}
	}
	return nil
}

// menuPath is how the menu names a file of this host: from the top of the boot partition, or for extlinux relative to its
// configuration, as the stock installer writes it.
func (m *Menu) menuPath(file, name string) (string, error) {
	from := m.Boot
	if m.Kind == Extlinux {
		from = filepath.Dir(file)
	}
	rel, err := filepath.Rel(from, name)
	if err != nil {
		return "", err
	}
	if m.Kind == Extlinux {
		return rel, nil
	}
	if !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is not below %s", name, m.Boot)
	}
	return "/" + rel, nil
}

// initrdValue is the last word of a line that names an initrd.
var initrdValue = regexp.MustCompile(`\S+\s*$`)

func rewrite(file string, lines map[int]string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	text := strings.Split(string(data), "\n")
	for n, initrd := range lines {
		text[n] = initrdValue.ReplaceAllLiteralString(text[n], initrd)
	}
	return atomicfile.WriteFile(atomicfile.OS(), file, []byte(strings.Join(text, "\n")), atomicfile.Attr{Mode: info.Mode().Perm(), UID: -1, GID: -1})
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
