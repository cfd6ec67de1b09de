package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"sops-initrd/internal/bootmenu"
	"sops-initrd/internal/hook"
)

// ownDir is where images of our own lie. The installers' directories are no place for them: what an installer did not put
// there itself, it removes.
func (o Options) ownDir() string { return filepath.Join(o.Boot, "sops-initrd") }

// imageName is the name of a system's image. It is the system's own, so that no two systems ever share one.
func imageName(s System) string { return s.Name() + "-initrd" }

// ownImages gives every system with secrets an initrd of its own: a copy of the one its entry names, with its secrets behind
// it. One initrd, not a second one beside the first, because U-Boot reads one only, and rEFInd and systemd-boot join several
// without padding.
//
// The order is such that an entry never names a file that is not there: images first, then the menu, then what no entry
// names any more is removed.
func (o Options) ownImages(ctx context.Context, menu *bootmenu.Menu, fallback System) error {
	made := make(map[string]string) // by toplevel
	tried := make(map[string]bool)
	initrds := make(map[int]string)
	keep := make(map[string]bool)
	var faults []error
	for i, e := range menu.Entries {
		s := Open(e.Toplevel)
		if s.Appender == "" || len(e.Initrds) == 0 {
			continue
		}
		if !tried[s.Toplevel] {
			tried[s.Toplevel] = true
			image, err := o.image(ctx, s, e.Initrds[0])
			faults = append(faults, o.report(s, fallback, err))
			made[s.Toplevel] = image
		}
		if image := made[s.Toplevel]; image != "" {
			initrds[i], keep[image] = image, true
		}
	}
	if err := menu.SetInitrds(initrds); err != nil {
		return errors.Join(append(faults, err)...)
	}
	return errors.Join(append(faults, o.removeOthers(keep))...)
}

// image makes the image of a system, or says which earlier one is as good: there is one of the same name, which holds the secrets of
// that system, as long as it is whole. Without any, the entry stays as the installer wrote it.
func (o Options) image(ctx context.Context, s System, base string) (string, error) {
	if err := os.MkdirAll(o.ownDir(), 0o700); err != nil {
		return "", err
	}
	target := filepath.Join(o.ownDir(), imageName(s))
	if filepath.Clean(base) == target { // the menu was not written anew
		base = filepath.Join(s.Toplevel, "initrd")
	}
	whole := o.isWhole(target)
	if whole && s.Manifest != "" { // our own appender changes an image as a whole, or not at all when nothing is new
		if err := o.runAppender(ctx, s, target); err != nil {
			return target, fmt.Errorf("kept its earlier image: %w", err)
		}
		return target, nil
	}
	temp := target + rand.Text()[:8] + ".tmp"
	err := copyFile(base, temp)
	if err == nil {
		err = o.runAppender(ctx, s, temp)
	}
	if err == nil {
		err = replace(temp, target)
	}
	if err == nil {
		return target, nil
	}
	if rm := os.Remove(temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	if whole {
		return target, fmt.Errorf("kept its earlier image: %w", err)
	}
	return "", err
}

func (o Options) isWhole(image string) bool {
	state, _, err := hook.Verify("", image, o.Hook)
	return err == nil && state == hook.Whole
}

func (o Options) runAppender(ctx context.Context, s System, image string) error {
	if err := trusted(s.Appender); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.Appender, image) //nolint:gosec // the program that the system names
	cmd.Stderr = o.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("its initrd secrets could not be made: %w", err)
	}
	return nil
}

// replace puts a file in another's place. What is there after a power cut is one of the two: the appender has synced the new one, and
// the sync behind the rename is for vfat (package atomicfile).
func replace(temp, target string) error {
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		err = os.Rename(temp, target)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o Options) removeOthers(keep map[string]bool) error {
	files, err := os.ReadDir(o.ownDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		if name := filepath.Join(o.ownDir(), f.Name()); !keep[name] && f.Type().IsRegular() {
			faults = append(faults, os.Remove(name))
		}
	}
	return errors.Join(faults...)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read from
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
