// Package bootmenu reads what an installed boot loader can boot: its entries with their initrds, and which NixOS system each
// of them starts. For the loaders whose entries can name another initrd it also writes that change.
//
// The forms are those that NixOS's installers write (nixpkgs, nixos/modules/system/boot/loader): every entry has init=TOPLEVEL/init
// among its kernel parameters. Entries without it are somebody else's and are left out. A program of the user's own writes a list instead.
package bootmenu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// Kind is a boot loader, or rather the form of its menu.
type Kind string

// The kinds of menus.
const (
	SystemdBoot Kind = "systemd-boot"  // loader/entries/*.conf of the Boot Loader Specification
	GRUB        Kind = "grub"          // grub/grub.cfg
	Limine      Kind = "limine"        // limine/limine.conf
	Extlinux    Kind = "extlinux"      // extlinux/extlinux.conf, also read by U-Boot
	REFInd      Kind = "refind"        // efi/refind/refind.conf, or efi/boot/refind.conf
	Lanzaboote  Kind = "lanzaboote"    // EFI/Linux/*.efi: stubs and unified kernel images
	RaspberryPi Kind = "raspberrypi"   // cmdline.txt and the directories of generations on the firmware's partition
	EFIStub     Kind = "efi-boot-stub" // efi/nixos/generation-*-startup.nsh, scripts for the shell of the firmware
	Listed      Kind = "listed"        // ListName, written by whoever installed the loader
)

// Kinds are all kinds, in the order in which Find looks for them.
func Kinds() []Kind {
	return []Kind{SystemdBoot, Lanzaboote, GRUB, Limine, Extlinux, REFInd, RaspberryPi, EFIStub, Listed}
}

// Entry is something the loader can boot.
type Entry struct {
	Title    string
	Toplevel string   // the NixOS system it starts, as named in its kernel parameters
	Initrds  []string // its initrds on this host, in the order in which they are loaded
	// Embedded says that the initrd is inside a unified kernel image, which Initrds then names.
	Embedded bool
	// InPlace says that what is loaded is the file of this name, whatever is in it: the name cannot be changed, and the file is not
	// that of another system.
	InPlace bool

	// line is where the last initrd is named, alone, in the file of the menu; -1 where it cannot be changed.
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
	RaspberryPi: {"cmdline.txt", "*/*/cmdline.txt", "old/*-system", "nixos-kernels/*-system"},
	EFIStub:     {"efi/nixos/generation-*-startup.nsh", "EFI/nixos/generation-*-startup.nsh", "startup.nsh"},
	Listed:      {ListName},
}

// initOf finds the system that kernel parameters start.
var initOf = pattern.New(`(?:^|[\s"])init=(\S+)/init(?:[\s"]|$)`)

// Read reads the menu of one kind. The error is fs.ErrNotExist when there is none of that kind.
func Read(kind Kind, boot string) (*Menu, error) {
	m := &Menu{Kind: kind, Boot: boot}
	found := make(map[string]bool)
	var infos []fs.FileInfo
	for _, name := range patterns[kind] {
		files, err := filepath.Glob(filepath.Join(boot, name))
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
	switch m.Kind {
	case Lanzaboote:
		return m.image(file)
	case RaspberryPi:
		return m.raspberryPi(file)
	case Listed:
		return m.list(file)
	case SystemdBoot, GRUB, Limine, Extlinux, REFInd, EFIStub: // texts
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
