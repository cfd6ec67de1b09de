package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"sops-initrd/internal/bootmenu"
	"sops-initrd/internal/cli"
	"sops-initrd/internal/hook"
)

// Options say how a loader is installed.
type Options struct {
	Kind bootmenu.Kind
	// Boot is where the loader's partition is mounted.
	Boot string
	// Installer is the stock installer with its arguments, the last of which is the system to boot by default.
	Installer []string
	// Hook has what the default's secrets are tried with before anything is changed.
	Hook           hook.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ExitError says that the stock installer failed, with this exit status; it has said why.
type ExitError struct{ Status int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the installer failed with exit status %d", e.Status)
}

// Supports says whether Install knows what to do for a kind of loader.
func Supports(kind bootmenu.Kind) bool {
	switch kind {
	case bootmenu.Extlinux, bootmenu.REFInd, bootmenu.SystemdBoot, bootmenu.Limine:
		return true
	case bootmenu.GRUB, bootmenu.Lanzaboote: // their installers do it all
	}
	return false
}

// Install runs the stock installer and then sees to the secrets of the entries it wrote.
//
// Before, the default's secrets are tried: when they cannot be had, nothing is changed at all. Afterwards a default that
// lacks its secrets is an error; other generations are warnings, since a new system must not fail because of an old one.
func Install(ctx context.Context, o Options) error {
	fallback := Open(o.Installer[len(o.Installer)-1])
	if err := o.try(ctx, fallback); err != nil {
		return cli.WithHint(err, "the boot loader was not touched")
	}
	if err := o.runInstaller(ctx); err != nil {
		return err
	}
	menu, err := bootmenu.Read(o.Kind, o.Boot)
	if err != nil {
		return err
	}
	if o.Kind == bootmenu.Limine {
		return o.checkLimine(menu, fallback)
	}
	return o.ownImages(ctx, menu, fallback)
}

// try makes the decisions for the default's image without writing it.
func (o Options) try(ctx context.Context, s System) error {
	if s.Manifest == "" {
		return nil
	}
	image := filepath.Join(o.ownDir(), imageName(s)) // with the name under which an earlier one is found
	options := o.Hook
	if o.Kind == bootmenu.Limine {
		options.Enclose, options.Installed = true, o.limineKernels()
		image = filepath.Join(os.TempDir(), "tmp00000000"+s.Name()+"-secrets")
	}
	if _, err := os.Stat(filepath.Dir(image)); errors.Is(err, fs.ErrNotExist) {
		image = filepath.Join(o.Boot, filepath.Base(image))
	}
	options.Warn = func(string, ...string) {} // the appender itself says it again
	_, err := hook.Plan(ctx, s.Manifest, image, options)
	return err
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
