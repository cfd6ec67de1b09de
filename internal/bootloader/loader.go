package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/bootmenu"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// Options say how a loader is installed.
type Options struct {
	Kind bootmenu.Kind
	// Boots are where the loader's partitions are mounted: one, or several that the installer keeps alike.
	Boots []string
	// Variables is where the firmware's variables are, for kernels that it starts directly (bootmenu.VariablesDir).
	Variables string
	// Installer is the stock installer with its arguments, the last of which is the system to boot by default.
	Installer []string
	// Hook has what the default's secrets are tried with before anything is changed.
	Hook           initrdsecrets.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Boot is the one of Boots that is being looked after.
	Boot string
}

// ExitError says that the stock installer failed, with this exit status; it has said why.
type ExitError struct{ Status int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the installer failed with exit status %d", e.Status)
}

// Supports says whether Install knows what to do for a kind of loader.
func Supports(kind bootmenu.Kind) bool {
	switch kind {
	case bootmenu.Extlinux, bootmenu.REFInd, bootmenu.SystemdBoot, bootmenu.Limine, bootmenu.RaspberryPi, bootmenu.EFIStub, bootmenu.Listed:
		return true
	case bootmenu.GRUB, bootmenu.Lanzaboote: // their installers do it all
	}
	return false
}

// Install runs the stock installer and then sees to the secrets of the entries it wrote.
//
// Before, the default's secrets are tried: when they cannot be had, nothing is changed at all. Afterwards a default that
// lacks its secrets is an error; other generations are warnings, since a new system must not fail because of an old one. An installer
// that fails may have written entries, so they are seen to; what is wrong with them is said, and the error is the installer's.
func Install(ctx context.Context, o Options) error {
	fallback := Open(o.Installer[len(o.Installer)-1])
	kept := make(map[string]string)
	for _, boot := range o.Boots {
		at := o.at(boot)
		image, err := at.try(ctx, fallback)
		if err != nil {
			return cli.WithHint(err, "the boot loader was not touched")
		}
		kept[boot] = image
	}
	failed := o.runInstaller(ctx)
	if failed != nil && ctx.Err() != nil {
		return failed
	}
	var faults []error
	for _, boot := range o.Boots {
		err := o.at(boot).provision(ctx, fallback, kept[boot])
		if failed != nil && errors.Is(err, fs.ErrNotExist) {
			continue // it did not come so far
		}
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); failed == nil {
		return err
	} else if err != nil {
		o.Hook.Warn(err.Error())
	}
	return failed
}

func (o Options) at(boot string) Options {
	o.Boot = boot
	return o
}

// provision sees to the entries of one boot directory.
func (o Options) provision(ctx context.Context, fallback System, kept string) error {
	menu, err := o.read()
	if err != nil {
		return err
	}
	if o.Kind == bootmenu.Limine {
		return o.checkLimine(menu, fallback)
	}
	return o.ownImages(ctx, menu, fallback, kept)
}

// read reads what the installer wrote: files, or with kernels that the firmware starts, boot entries of the firmware, too.
func (o Options) read() (*bootmenu.Menu, error) {
	menu, err := bootmenu.Read(o.Kind, o.Boot)
	if o.Kind != bootmenu.EFIStub || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return menu, err
	}
	if menu == nil {
		menu = &bootmenu.Menu{Kind: o.Kind, Boot: o.Boot}
	}
	if variables := menu.AddVariables(o.Variables); variables != nil {
		return nil, variables
	}
	if len(menu.Entries) == 0 {
		return nil, err
	}
	return menu, nil
}

// try makes the decisions for the default's image without writing it. Where the installer is going to overwrite an image that could not
// be made again, kept is a copy of it.
func (o Options) try(ctx context.Context, s System) (kept string, err error) {
	if s.Manifest == "" {
		return "", nil
	}
	image := filepath.Join(o.ownDir(), imageName(s)) // with the name under which an earlier one is found
	options := o.Hook
	if _, err := os.Stat(s.initrd()); err == nil {
		options.Base = s.initrd() // as the appender has it
	}
	if o.Kind == bootmenu.Limine {
		options.Base = ""
		options.Enclose, options.Installed = true, o.limineKernels()
		image = filepath.Join(os.TempDir(), "tmp00000000"+s.Name()+"-secrets")
	}
	inPlace := o.loaded(s)
	if inPlace != "" {
		image = inPlace
	}
	if _, err := os.Stat(filepath.Dir(image)); errors.Is(err, fs.ErrNotExist) {
		image = filepath.Join(o.Boot, filepath.Base(image))
	}
	options.Warn = func(string, ...string) {} // the appender itself says it again
	outcome, err := initrdsecrets.Plan(ctx, s.Manifest, image, options)
	if err != nil || inPlace == "" || !outcome.Salvaged {
		return "", err
	}
	if err := os.MkdirAll(o.ownDir(), 0o700); err != nil {
		return "", err
	}
	kept = filepath.Join(o.ownDir(), imageName(s))
	return kept, copyOver(inPlace, kept)
}

// loaded is the file with a name that cannot be changed that a system loads now; "" where there is none. A menu that cannot be read is
// about to be written anew.
func (o Options) loaded(s System) string {
	menu, err := bootmenu.Read(o.Kind, o.Boot)
	if err != nil {
		return ""
	}
	for _, e := range menu.Entries {
		if e.InPlace && Open(e.Toplevel).Toplevel == s.Toplevel && o.isWhole(e.Initrds[0]) {
			return e.Initrds[0]
		}
	}
	return ""
}

func (o Options) runInstaller(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, o.Installer[0], o.Installer[1:]...) //nolint:gosec // this is what the command is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &ExitError{exit.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("run the installer: %w", err)
	}
	return nil
}

// report sorts a fault: of the default it is an error, of others a warning.
func (o Options) report(s, fallback System, fault error) error {
	if fault == nil {
		return nil
	}
	if isOf(s, fallback) {
		return fmt.Errorf("system %s: %w", s.Toplevel, fault)
	}
	o.Hook.Warn(fmt.Sprintf("system %s, an older generation: %v", s.Toplevel, fault))
	return nil
}

// isOf says whether a system is the default or one of its specialisations.
func isOf(s, fallback System) bool {
	if s.Toplevel == fallback.Toplevel {
		return true
	}
	special, err := filepath.Glob(filepath.Join(fallback.Toplevel, "specialisation", "*"))
	if err != nil {
		return false
	}
	for _, link := range special {
		if real, err := filepath.EvalSymlinks(link); err == nil && real == s.Toplevel {
			return true
		}
	}
	return false
}
