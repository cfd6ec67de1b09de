package loadertest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// GRUB re-enacts install-grub.pl: a second initrd, from a name that does not exist yet.
type GRUB struct{}

// Name names the loader in the table.
func (GRUB) Name() string { return "GRUB" }

// InPlaceUntouched is false: the installer renames a new file over the old one every time.
func (GRUB) InPlaceUntouched() bool { return false }

// Joined pads: grub_initrd_load aligns every initrd to 4 bytes.
func (GRUB) Joined(initrds [][]byte) []byte { return padded(initrds) }

func (GRUB) config(w *World) string { return filepath.Join(w.Boot, "grub", "grub.cfg") }

// Entry reads the menu.
func (GRUB) Entry(w *World, g *Generation) (Entry, error) { return entryOf(bootloader.GRUB, w, g) }

// Install makes the entries of the default, then those of all generations, newest first, then
// removes what is left over.
func (l GRUB) Install(w *World) error {
	var menu strings.Builder
	used := make(map[string]bool)
	add := func(g *Generation, current bool) error {
		if err := l.addEntry(w, &menu, used, g, current); err != nil {
			return err
		}
		for _, s := range g.Special { // of whatever generation: as current
			if err := l.addEntry(w, &menu, used, s, true); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(w.Default, true); err != nil {
		return err
	}
	for _, g := range slices.Backward(w.Listed) {
		if err := add(g, false); err != nil {
			return err
		}
	}
	if err := w.write(l.config(w), []byte(menu.String())); err != nil {
		return err
	}
	return w.keepOnly(filepath.Join(w.Boot, "kernels"), used)
}

func (GRUB) addEntry(w *World, menu *strings.Builder, used map[string]bool, g *Generation,
	current bool,
) error {
	kernels := filepath.Join(w.Boot, "kernels")
	initrd := filepath.Join(kernels, storeName(g.Initrd))
	if !exists(initrd) {
		if err := w.put(g.Initrd, initrd, initrd+".tmp"); err != nil {
			return err
		}
	}
	used[initrd] = true
	files := []string{initrd}
	secrets := filepath.Join(kernels, filepath.Base(g.Toplevel)+"-secrets")
	temp, err := freeName(secrets+".", "")
	if err != nil {
		return err
	}
	if err := w.runAppender(g, temp, 0o137); err != nil && current {
		return installError{"failed to create initrd secrets"}
	}
	if info, err := os.Stat(temp); err == nil && info.Size() > 0 {
		if err := w.rename(temp, secrets); err != nil {
			return err
		}
		used[secrets] = true
		files = append(files, secrets)
	} else {
		os.Remove(temp)
	}
	fmt.Fprintf(menu, "menuentry \"NixOS - %s\" {\n  linux ($drive1)/kernels/kernel %s\n  initrd",
		g.Name, g.parameters())
	for _, f := range files {
		fmt.Fprintf(menu, " ($drive1)%s", w.bootPath(f))
	}
	menu.WriteString("\n}\n")
	return nil
}
