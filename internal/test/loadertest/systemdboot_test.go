package loadertest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// systemdBoot is what both builders of systemd-boot have in common: entries of the Boot Loader
// Specification.
type systemdBoot struct{}

func (systemdBoot) entryFile(w *World, g *Generation) string {
	return filepath.Join(w.Boot, "loader", "entries", "nixos-"+g.Name+".conf")
}

func (s systemdBoot) writeEntry(w *World, g *Generation, initrd string) error {
	return w.write(s.entryFile(w, g),
		[]byte("title NixOS\nversion "+g.Name+"\nlinux /EFI/nixos/kernel.efi\ninitrd "+w.bootPath(
			initrd)+"\noptions "+g.parameters()+"\n"))
}

// Entry reads a generation's entry.
func (systemdBoot) Entry(w *World, g *Generation) (Entry, error) {
	return entryOf(bootloader.SystemdBoot, w, g)
}

// Joined is for one initrd only.
func (systemdBoot) Joined(initrds [][]byte) []byte { return plain(initrds) }

// SystemdBootOld re-enacts the builder that appends in place, to a file that equal initrds share.
type SystemdBootOld struct{ systemdBoot }

// Name names the loader in the table.
func (SystemdBootOld) Name() string { return "systemd-boot, old builder" }

// InPlaceUntouched is true: the appender works on the installed file.
func (SystemdBootOld) InPlaceUntouched() bool { return true }

func (SystemdBootOld) file(w *World, g *Generation) string {
	return filepath.Join(w.Boot, "EFI", "nixos", storeName(g.Initrd)+".efi")
}

// Install removes what no generation needs, then makes every entry, oldest first.
func (s SystemdBootOld) Install(w *World) error {
	keep := make(map[string]bool)
	for _, g := range w.Listed { // specialisations' files are not among the known ones
		keep[s.file(w, g)] = true
	}
	if err := w.keepOnly(filepath.Join(w.Boot, "EFI", "nixos"), keep); err != nil {
		return err
	}
	entries := make(map[string]bool)
	for _, g := range w.all() {
		entries[s.entryFile(w, g)] = true
	}
	if err := w.keepOnly(filepath.Join(w.Boot, "loader", "entries"), entries); err != nil {
		return err
	}
	for _, g := range w.Listed {
		for _, x := range append([]*Generation{g}, g.Special...) {
			if err := s.install(w, x, g == w.Default); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s SystemdBootOld) install(w *World, g *Generation, current bool) error {
	file := s.file(w, g)
	if !exists(file) {
		temp, err := freeName(file, ".tmp.")
		if err != nil {
			return err
		}
		if err := w.put(g.Initrd, file, temp); err != nil {
			return err
		}
	}
	if err := w.runAppender(g, file, 0o022); err != nil && current {
		return installError{"failed to create initrd secrets"}
	}
	if err := s.writeEntry(w, g, file); err != nil {
		return err
	}
	if !current {
		return nil
	}
	return w.write(filepath.Join(w.Boot, "loader", "loader.conf"),
		[]byte("default nixos-"+g.Name+".conf\n"))
}

// SystemdBootNew re-enacts the builder that makes every image again beside its target.
type SystemdBootNew struct{ systemdBoot }

// Name names the loader in the table.
func (SystemdBootNew) Name() string { return "systemd-boot, new builder" }

// InPlaceUntouched is false: the builder renames a new file over the old one every time.
func (SystemdBootNew) InPlaceUntouched() bool { return false }

// file is named after the initrd and the store directory of the appender.
func (SystemdBootNew) file(w *World, g *Generation) string {
	appender, err := filepath.EvalSymlinks(g.Appender)
	if err != nil {
		appender = g.Appender
	}
	store := filepath.Join(w.Dir, "store")
	rest, _ := filepath.Rel(store, appender)
	first, _, _ := strings.Cut(rest, string(filepath.Separator))
	sum := sha256.Sum256([]byte(g.Initrd + "\x00" + first + "/" + filepath.Base(appender)))
	return filepath.Join(w.Boot, "EFI", "nixos", fmt.Sprintf("%x-initrd.efi", sum))
}

// Install makes each distinct image once, then the entries, then removes what is left over.
func (s SystemdBootNew) Install(w *World) error {
	files, entries := make(map[string]bool), make(map[string]bool)
	for _, g := range w.all() {
		file := s.file(w, g)
		entries[s.entryFile(w, g)] = true
		if files[file] {
			continue
		}
		files[file] = true
		if err := s.image(w, g, file); err != nil {
			return err
		}
	}
	for _, g := range w.all() {
		if err := s.writeEntry(w, g, s.file(w, g)); err != nil {
			return err
		}
	}
	if err := w.write(filepath.Join(w.Boot, "loader", "loader.conf"),
		[]byte("default nixos-"+w.Default.Name+".conf\n")); err != nil {
		return err
	}
	if err := w.keepOnly(filepath.Join(w.Boot, "loader", "entries"), entries); err != nil {
		return err
	}
	return w.keepOnly(filepath.Join(w.Boot, "EFI", "nixos"), files)
}

func (s SystemdBootNew) image(w *World, g *Generation, file string) error {
	w.Cut("copy the initrd of " + g.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temp, err := freeName(file, ".tmp")
	if err != nil {
		return err
	}
	if err := copyFile(g.Initrd, temp); err != nil {
		os.Remove(temp)
		return err
	}
	if err := w.runAppender(g, temp, 0o022); err != nil {
		switch {
		case g == w.Default:
			os.Remove(temp)
			return installError{"failed to create initrd secrets"}
		case exists(file):
			return os.Remove(temp) // with the secrets that it had
		}
		if err := copyFile(g.Initrd, temp); err != nil {
			return err
		}
	}
	return w.rename(temp, file)
}
