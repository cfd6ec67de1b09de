package loadertest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// Limine re-enacts limine-install.py: a second module, made in TMPDIR, copied twice; files are
// checked against sums.
type Limine struct {
	// Pads says that the loader is 12.4.0 or newer, which puts modules on 4-byte boundaries.
	Pads bool
}

// Name names the loader in the table.
func (l Limine) Name() string {
	if l.Pads {
		return "limine from 12.4.0"
	}
	return "limine before 12.4.0"
}

// InPlaceUntouched is false: the installer copies the file every time.
func (Limine) InPlaceUntouched() bool { return false }

// Joined pads or not, by the loader's version.
func (l Limine) Joined(initrds [][]byte) []byte {
	if l.Pads {
		return padded(initrds)
	}
	return plain(initrds)
}

func (Limine) config(w *World) string { return filepath.Join(w.Boot, "limine", "limine.conf") }

// Kernels is the directory with the modules.
func (Limine) Kernels(w *World) string { return filepath.Join(w.Boot, "limine", "kernels") }

// Entry reads the menu; a file that is not what its sum says is refused.
func (l Limine) Entry(w *World, g *Generation) (Entry, error) {
	e, err := entryOf(bootloader.Limine, w, g)
	if err != nil {
		return e, err
	}
	menu, err := os.ReadFile(l.config(w))
	if err != nil {
		return e, err
	}
	for _, f := range e.Initrds {
		sum, err := fileSum(f)
		if err != nil || !strings.Contains(string(menu), w.bootPath(f)+"#"+sum+"\n") {
			return e, errNoEntry
		}
	}
	return e, nil
}

// Install makes the entries of all generations, newest first. A failing appender never makes it
// fail.
func (l Limine) Install(w *World) error {
	var menu strings.Builder
	used := make(map[string]bool)
	for _, g := range slices.Backward(w.all()) {
		if err := l.addEntry(w, &menu, used, g); err != nil {
			return err
		}
	}
	if err := w.write(l.config(w), []byte(menu.String())); err != nil {
		return err
	}
	return w.keepOnly(l.Kernels(w), used)
}

func (l Limine) addEntry(w *World, menu *strings.Builder, used map[string]bool,
	g *Generation,
) error {
	fmt.Fprintf(menu, "//%s\nprotocol: linux\ncmdline: %s\n", g.Name, g.parameters())
	if err := l.module(w, menu, used, g.Initrd); err != nil {
		return err
	}
	temp, err := freeName(filepath.Join(w.Temp, "tmp"), filepath.Base(g.Toplevel)+"-secrets")
	if err != nil {
		return err
	}
	if err := w.runAppender(g, temp, 0o137); err != nil {
		fmt.Fprintf(&w.Log, "warning: failed to create initrd secrets for %q\n", g.Name)
	}
	if exists(temp) {
		secrets := filepath.Join(l.Kernels(w), filepath.Base(g.Toplevel)+"-secrets")
		if err := errors.Join(w.put(temp, secrets, secrets+".tmp"), os.Remove(temp)); err != nil {
			return err
		}
		used[secrets] = true
		return l.module(w, menu, used, secrets)
	}
	return nil
}

// module copies a file to its second name, unless that is there, and adds it to the menu with the
// sum of the file it would copy.
func (l Limine) module(w *World, menu *strings.Builder, used map[string]bool, from string) error {
	to := filepath.Join(l.Kernels(w), storeName(from))
	if !exists(to) {
		if err := w.put(from, to, to+".tmp"); err != nil {
			return err
		}
	}
	used[to] = true
	sum, err := fileSum(from)
	fmt.Fprintf(menu, "module_path: boot():%s#%s\n", w.bootPath(to), sum)
	return err
}

func fileSum(name string) (string, error) {
	data, err := os.ReadFile(name)
	return fmt.Sprintf("%x", sha256.Sum256(data)), err
}
