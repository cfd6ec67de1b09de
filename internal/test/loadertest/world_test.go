package loadertest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Generation is a configuration of the machine.
type Generation struct {
	Name     string // "g1"
	Toplevel string // its directory in the store
	Initrd   string // its pristine initrd in the store
	Appender string // what its boot.json names as initrdSecrets
	// Secrets are what its stage 1 must find, by path.
	Secrets map[string]string
	// Earlier are those it had before a file of the host was changed.
	Earlier map[string]string
	// Special are its specialisations, in the order of their names.
	Special []*Generation
}

// World is a machine: a boot directory, a store, generations that are listed, and an appender.
type World struct {
	Dir     string // everything is below it
	Boot    string // the ESP
	Temp    string // TMPDIR
	Listed  []*Generation
	Default *Generation
	// Cut is called before each change that an installer makes by itself; what it panics with ends the
	// installer there.
	Cut func(step string)
	// Log has what the appender said.
	Log strings.Builder

	appender Appender
	made     int
}

// Appender is a program under test, or rather how a configuration gets one.
type Appender interface {
	Name() string
	// Prepare writes the program for a generation, an executable file at the given path, and what it
	// needs below w.Dir.
	Prepare(w *World, l Loader, g *Generation, program string) error
	// Rotate changes those secrets of a generation that are files of the host, as far as the appender
	// has such.
	Rotate(w *World, g *Generation, secrets map[string]string) error
	// Lose makes the secrets of a generation unobtainable from now on.
	Lose(w *World, g *Generation) error
	// SaltsInitrd says whether the module around the appender gives generations with different secrets
	// different initrds.
	SaltsInitrd(l Loader) bool
	// AroundInstaller is what the module runs in place of a loader's installer; install is the
	// installer itself.
	AroundInstaller(w *World, l Loader, install func() error) error
}

// NewWorld makes a machine with nothing on it. boot may be a directory that exists already; ""
// makes one.
func NewWorld(dir, boot string, a Appender) (*World, error) {
	w := &World{
		Dir: dir, Boot: boot, Temp: filepath.Join(dir, "tmp"), appender: a,
		Cut: func(string) {},
	}
	if boot == "" {
		w.Boot = filepath.Join(dir, "boot")
	}
	for _, d := range []string{w.Boot, w.Temp, filepath.Join(dir, "store")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Add builds a generation with an initrd of the given kind ("A", "B": equal kinds are equal
// initrds), lists it and makes it the default. Special secrets make specialisations by their name.
func (w *World) Add(l Loader, kind string, secrets map[string]string,
	special map[string]map[string]string,
) (*Generation, error) {
	w.made++
	g, err := w.build(l, fmt.Sprintf("g%d", w.made), kind, secrets)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(special) {
		s, err := w.build(l, g.Name+"-"+name, kind, special[name])
		if err != nil {
			return nil, err
		}
		g.Special = append(g.Special, s)
	}
	w.Listed = append(w.Listed, g)
	w.Default = g
	return g, nil
}

func (w *World) build(l Loader, name, kind string, secrets map[string]string) (*Generation, error) {
	salt := ""
	if w.appender.SaltsInitrd(l) {
		salt = fmt.Sprint(secrets)
	}
	initrd, err := baseInitrd(kind, salt)
	if err != nil {
		return nil, err
	}
	g := &Generation{Name: name, Secrets: secrets, Toplevel: w.storePath("nixos-system-"+name,
		[]byte(name+kind+fmt.Sprint(secrets)))}
	g.Initrd = filepath.Join(w.storePath("initrd-linux", initrd), "initrd")
	g.Appender = filepath.Join(w.storePath("append-initrd-secrets", []byte(name+fmt.Sprint(secrets))),
		"bin", "append-initrd-secrets")
	for _, d := range []string{g.Toplevel, filepath.Dir(g.Initrd), filepath.Dir(g.Appender)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(g.Initrd, initrd, 0o444); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	link := filepath.Join(g.Toplevel, "append-initrd-secrets")
	if err := os.Symlink(g.Appender, link); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return g, w.appender.Prepare(w, l, g, g.Appender)
}

// storePath is a path such as the Nix store has them: a hash, a dash, a name.
func (w *World) storePath(name string, content []byte) string {
	return filepath.Join(w.Dir, "store",
		fmt.Sprintf("%.16x-%s", sha256.Sum256(append([]byte(name), content...)), name))
}

// Delete takes a generation off the list, as nix-collect-garbage does.
func (w *World) Delete(g *Generation) {
	w.Listed = slices.DeleteFunc(w.Listed, func(x *Generation) bool { return x == g })
}

// Install is "nixos-rebuild boot": the loader's installer for the default, in whatever the module
// puts around it.
func (w *World) Install(l Loader) error {
	return w.appender.AroundInstaller(w, l, func() error { return l.Install(w) })
}

// all are the listed generations with their specialisations behind them, oldest first.
func (w *World) all() []*Generation {
	var all []*Generation
	for _, g := range w.Listed {
		all = append(append(all, g), g.Special...)
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
