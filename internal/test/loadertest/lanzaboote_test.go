package loadertest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// Lanzaboote re-enacts lzbt: content-addressed files, and a stub per generation that pins the
// initrd's hash.
type Lanzaboote struct{}

// Name names the loader in the table.
func (Lanzaboote) Name() string { return "lanzaboote" }

// InPlaceUntouched is true: what is installed under its hash is never written again.
func (Lanzaboote) InPlaceUntouched() bool { return true }

// Joined is for one initrd only.
func (Lanzaboote) Joined(initrds [][]byte) []byte { return plain(initrds) }

func (Lanzaboote) stub(w *World, g *Generation) string {
	return filepath.Join(w.Boot, "EFI", "Linux", "nixos-"+filepath.Base(g.Toplevel)+".efi")
}

// Entry reads the stub, which refuses an initrd that is not what it was signed with.
func (l Lanzaboote) Entry(w *World, g *Generation) (Entry, error) {
	e, err := entryOf(bootloader.Lanzaboote, w, g)
	if err != nil {
		return e, err
	}
	stub, err := os.ReadFile(l.stub(w, g))
	if err != nil {
		return e, err
	}
	if sum, err := fileSum(e.Initrds[0]); err != nil || !strings.Contains(string(stub), sum) {
		return e, errNoEntry
	}
	return e, nil
}

// Install makes what is missing; any failure ends it. Then it removes what no generation has.
func (l Lanzaboote) Install(w *World) error {
	used := make(map[string]bool)
	for _, g := range w.all() {
		stub := l.stub(w, g)
		if !exists(stub) {
			if err := l.generation(w, g, stub); err != nil {
				return err
			}
		}
		e, err := l.Entry(w, g)
		if err != nil {
			return installError{"stub of " + g.Name + " does not fit its initrd"}
		}
		used[stub], used[e.Initrds[0]] = true, true
	}
	return errors.Join(
		w.keepOnly(filepath.Join(w.Boot, "EFI", "Linux"), used),
		w.keepOnly(filepath.Join(w.Boot, "EFI", "nixos"), used),
	)
}

func (l Lanzaboote) generation(w *World, g *Generation, stub string) error {
	w.Cut("make a private directory")
	private, err := os.MkdirTemp(w.Temp, "lanzaboote")
	if err != nil {
		return err
	}
	defer os.RemoveAll(private)
	image, err := freeName(filepath.Join(private, ".tmp"), "")
	if err != nil {
		return err
	}
	if err := copyFile(g.Initrd, image); err != nil {
		return err
	}
	if err := w.runAppender(g, image, 0o022); err != nil {
		return installError{"failed to append initrd secrets"}
	}
	sum, err := fileSum(image)
	if err != nil {
		return err
	}
	file := filepath.Join(w.Boot, "EFI", "nixos", "initrd-6.12.0-"+sum+".efi")
	if !exists(file) {
		if err := w.put(image, file, file+".tmp"); err != nil {
			return err
		}
	}
	return w.write(stub, PE([][2]string{
		{".cmdline", g.parameters()},
		{".initrd", strings.ReplaceAll(w.bootPath(file), "/", `\`)},
		{".initrdh", sum},
	}))
}
