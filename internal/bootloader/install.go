package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// Options say how a loader is installed.
type Options struct {
	Kind Kind
	// Boots are where the loader's partitions are mounted: one, or several that the installer
	// keeps alike.
	Boots []string
	// Variables is where the firmware's variables are, see [VariablesDir].
	Variables string
	// Installer is the stock installer with its arguments. The last one is the system to boot by
	// default.
	Installer []string
	// Hook is what the default's secrets are tried with before anything is changed.
	Hook           initrdsecrets.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// run is one installation, in one of the boot directories.
type run struct {
	Options
	loader   loader
	fallback System // what is booted by default
	temp     string // a directory in memory for those we start
	grace    time.Duration
	boot     string
	dir      *Dir
	// kept is a copy of the default's image where that could not be made again; else "".
	kept string
	// before has the files of the menu as they were before the installer ran.
	before stamps
	// lacking says that an entry lacks its secrets though there was no error.
	lacking *bool
}

// ExitError says that the stock installer failed, with this exit status; it has said why.
type ExitError struct{ Status int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the installer failed with exit status %d", e.Status)
}

// Install runs the stock installer and then adds secrets to the entries that it wrote.
//
// Before, the default's secrets are tried: when they cannot be had, nothing is changed at all.
// Afterwards a default that lacks its secrets is an error. Other generations are warnings, since a
// new system must not fail because of an old one. An installer that fails may have written
// entries, so they get their secrets all the same, and the error is the installer's. After a
// signal nothing is written any more.
func Install(ctx context.Context, o Options) (err error) {
	temp, remove, err := privateTemp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r := run{
		Options: o, loader: rowOf(o.Kind), temp: temp, grace: termGrace,
		lacking:  new(bool),
		fallback: Open(o.Installer[len(o.Installer)-1]),
	}
	runs := make([]*run, 0, len(o.Boots))
	before := r.readPending()
	for _, boot := range o.Boots {
		one := r
		one.boot = boot
		if err := one.prepare(ctx); err != nil {
			return cli.WithHint(err, untouched)
		}
		if earlier, ok := before[boot]; ok {
			one.before = earlier
		}
		before[boot] = one.before
		runs = append(runs, &one)
	}
	if err := r.writePending(before); err != nil {
		o.Hook.Warn(err.Error(), "if this run is interrupted, the next cannot complete it")
	}
	failed := r.runInstaller(ctx)
	if ctx.Err() != nil {
		return cli.WithHint(fmt.Errorf("run the installer: interrupted: %w", context.Cause(ctx)),
			"what it wrote may lack secrets: install the boot loader again")
	}
	var faults []error
	for _, one := range runs {
		err := one.provision(ctx)
		if failed != nil && errors.Is(err, fs.ErrNotExist) {
			continue // it did not come so far
		}
		faults = append(faults, err)
	}
	err = errors.Join(faults...)
	switch {
	case failed == nil && err == nil && !*r.lacking:
		return r.removePending()
	case failed == nil:
		return err
	case err != nil:
		o.Hook.Warn(err.Error())
	}
	return failed
}

const untouched = "the boot loader was not touched"

// prepare tries the default's secrets and notes what the boot directory has before the installer
// runs.
func (r *run) prepare(ctx context.Context) error {
	dir, err := OpenDir(r.boot)
	switch {
	case err == nil:
		r.dir = dir
		defer func() { _ = dir.Close() }() // only read from
		r.before = r.stamps()
	case !errors.Is(err, fs.ErrNotExist): // the installer may make it
		return err
	}
	return r.try(ctx)
}

// provision gives their secrets to the entries of one boot directory.
func (r *run) provision(ctx context.Context) (err error) {
	if r.dir, err = OpenDir(r.boot); err != nil {
		return err
	}
	defer func() { _ = r.dir.Close() }() // only read from
	menu, err := r.menu()
	if err != nil {
		return err
	}
	return r.loader.finish(ctx, r, menu)
}

// menu reads what the installer wrote. Files that cannot be read are an error where nothing else
// can.
func (r *run) menu() (*Menu, error) {
	menu, err := Read(r.Kind, r.dir)
	if r.loader.firmware != nil && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		if menu == nil {
			menu = &Menu{Kind: r.Kind, dir: r.dir}
		}
		if err := r.loader.firmware(menu, r.Variables); err != nil {
			return nil, err
		}
		if len(menu.Entries) > 0 {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, odd := range menu.Odd {
		faults = append(faults, odd.Err)
	}
	if len(menu.Entries) == 0 {
		return menu, errors.Join(faults...)
	}
	for _, fault := range faults {
		r.Hook.Warn(fault.Error())
	}
	return menu, nil
}

// try makes the decisions for the default's image without writing it. Where the installer is going
// to overwrite an image that could not be made again, it keeps a copy.
func (r *run) try(ctx context.Context) error {
	s := r.fallback
	if s.Manifest == "" {
		return nil
	}
	options := r.Hook
	options.Warn = func(string, ...string) {} // the appender itself says it again
	if _, err := os.Stat(s.initrd()); err == nil {
		options.Base = s.initrd() // as the appender has it
	}
	image := filepath.Join(r.boot, imageName(s))
	inPlace := ""
	if r.dir != nil {
		if own := r.dir.host(ownName); isDir(own) {
			image = filepath.Join(own, imageName(s))
		}
		if r.loader.aim != nil {
			image = r.loader.aim(r, &options)
		}
		if inPlace = r.loaded(ctx, s); inPlace != "" {
			image = inPlace
		}
	}
	outcome, err := initrdsecrets.Plan(ctx, s.Manifest, image, options)
	if err != nil || inPlace == "" || !outcome.Salvaged {
		return err
	}
	if err := r.makeOwnDir(); err != nil {
		return err
	}
	r.kept = r.dir.host(filepath.Join(ownName, imageName(s)))
	return copyOver(inPlace, r.kept)
}

func isDir(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.IsDir()
}

// loaded is the file with a fixed name that a system loads now, if it is whole; else "". A menu
// that cannot be read is about to be written anew.
func (r *run) loaded(ctx context.Context, s System) string {
	menu, err := Read(r.Kind, r.dir)
	if err != nil {
		return ""
	}
	for _, e := range menu.Entries {
		if !e.InPlace || Open(e.Toplevel).Toplevel != s.Toplevel {
			continue
		}
		if file, err := r.place(e); err == nil && r.isWhole(ctx, file) {
			return file
		}
	}
	return ""
}

// place is where the last initrd of an entry is, if that is a file below the boot directory that
// is reached without links.
func (r *run) place(e Entry) (string, error) {
	last := e.Initrds[len(e.Initrds)-1]
	rel, ok := r.dir.below(last)
	if !ok {
		return "", fmt.Errorf("the initrd %s of the entry %q is not below %s", last, e.Title, r.boot)
	}
	return r.dir.ours(rel)
}

// report sorts a fault: of the default it is an error, of others a warning.
func (r *run) report(s System, fault error) error {
	if fault == nil {
		return nil
	}
	if isOf(s, r.fallback) {
		return fmt.Errorf("system %s: %w", s.Toplevel, fault)
	}
	*r.lacking = true
	r.Hook.Warn(fmt.Sprintf("system %s, an older generation: %v", s.Toplevel, fault))
	return nil
}

// isOf says whether a system is the default or one of its specialisations.
func isOf(s, fallback System) bool {
	if s.Toplevel == fallback.Toplevel {
		return true
	}
	dir := filepath.Join(fallback.Toplevel, "specialisation")
	special, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, link := range special {
		if real(filepath.Join(dir, link.Name())) == s.Toplevel {
			return true
		}
	}
	return false
}
