package bootloader

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
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/bootmenu"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// ownDir is where images of our own lie. The installers' directories are no place for them: what an installer did not put
// there itself, it removes.
func (o Options) ownDir() string { return filepath.Join(o.Boot, ownName) }

const ownName = "sops-initrd"

// imageName is the name of a system's image. It is the system's own, so that no two systems ever share one.
func imageName(s System) string { return s.Name() + "-initrd" }

// ownImages gives every system with secrets an initrd of its own: a copy of the one its entry names, with its secrets behind
// it. One initrd, not a second one beside the first, because U-Boot reads one only, and rEFInd, the kernel's EFI loader and systemd-boot
// join several without padding. Where an entry's file has a name that cannot be changed, the secrets go into that file.
//
// The order is such that an entry never names a file that is not there: images first, then the menu, then what no entry
// names any more is removed.
func (o Options) ownImages(ctx context.Context, menu *bootmenu.Menu, fallback System, kept string) error {
	made := make(map[string]string) // by toplevel
	tried := make(map[string]bool)
	initrds := make(map[int]string)
	var faults []error
	for i, e := range menu.Entries {
		s := Open(e.Toplevel)
		if s.Appender == "" || len(e.Initrds) == 0 {
			continue
		}
		if e.InPlace {
			if !tried[e.Initrds[0]] {
				tried[e.Initrds[0]] = true
				faults = append(faults, o.report(s, fallback, o.inPlace(ctx, s, fallback, e.Initrds[0], kept)))
			}
			continue
		}
		if !tried[s.Toplevel] {
			tried[s.Toplevel] = true
			image, err := o.ownImage(ctx, s, e.Initrds[len(e.Initrds)-1])
			faults = append(faults, o.report(s, fallback, err))
			made[s.Toplevel] = image
		}
		if image := made[s.Toplevel]; image != "" {
			initrds[i] = image
		}
	}
	if err := menu.SetInitrds(initrds); err != nil {
		return errors.Join(append(faults, err)...)
	}
	named, err := o.forget(menu)
	if err == nil {
		err = o.removeOthers(named)
	}
	return errors.Join(append(faults, err)...)
}

// forget removes records of systems that are gone, and says which files the entries name that remain.
func (o Options) forget(menu *bootmenu.Menu) (named map[string]bool, err error) {
	named = make(map[string]bool)
	for _, e := range menu.Entries {
		if Open(e.Toplevel).Gone() {
			gone, err := menu.Forget(e)
			if err != nil {
				return nil, err
			}
			if gone {
				continue
			}
		}
		for _, i := range e.Initrds {
			named[canonical(i)] = true
		}
	}
	return named, nil
}

// ownImage makes the image of a system below our own directory.
func (o Options) ownImage(ctx context.Context, s System, base string) (string, error) {
	if err := os.MkdirAll(o.ownDir(), 0o700); err != nil {
		return "", err
	}
	target := filepath.Join(o.ownDir(), imageName(s))
	if canonical(base) == canonical(target) { // the menu was not written anew
		base = s.initrd()
	}
	ok, err := o.image(ctx, s, base, target)
	if !ok {
		return "", err
	}
	return target, err
}

// inPlace puts a system's secrets into the file that its entry loads. kept is a copy of the default's image that was whole before the
// installer ran, if its secrets cannot be made again.
func (o Options) inPlace(ctx context.Context, s, fallback System, file, kept string) error {
	if err := removeTemps(file); err != nil {
		return err
	}
	if kept != "" && s.Toplevel == fallback.Toplevel {
		o.Hook.Warn(fmt.Sprintf("system %s: its initrd secrets cannot be made any more; the image that was there before is kept", s.Toplevel))
		return copyOver(kept, file)
	}
	if s.Manifest == "" {
		_, err := o.image(ctx, s, s.initrd(), file)
		return err
	}
	// Our own appender knows the pristine initrd, and changes a file as a whole. A file that is not there would become one without initrd.
	if _, err := os.Stat(file); err != nil {
		return err
	}
	err := o.runAppender(ctx, s, file)
	if err != nil && o.isWhole(file) {
		err = fmt.Errorf("kept its earlier image: %w", err)
	}
	return err
}

// image makes the image of a system under a name of its own, or says that an earlier one is as good: there is one of that name, which holds
// the secrets of that system, as long as it is whole. Otherwise what is there stays, and ok is false.
func (o Options) image(ctx context.Context, s System, base, target string) (ok bool, err error) {
	whole := o.isWhole(target)
	if whole && s.Manifest != "" { // our own appender changes an image as a whole, or not at all when nothing is new
		if err := o.runAppender(ctx, s, target); err != nil {
			return true, fmt.Errorf("kept its earlier image: %w", err)
		}
		return true, nil
	}
	temp := tempName(target)
	err = copyFile(base, temp)
	if err == nil {
		err = o.runAppender(ctx, s, temp)
	}
	if err == nil {
		err = replace(temp, target)
	}
	if err == nil {
		return true, nil
	}
	if rm := os.Remove(temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	if whole {
		return true, fmt.Errorf("kept its earlier image: %w", err)
	}
	return false, err
}

func (o Options) isWhole(image string) bool {
	state, _, err := initrdsecrets.Verify("", image, o.Hook)
	return err == nil && state == initrdsecrets.Whole
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

// tempName is a name in the same directory: on FAT, a file that moves between directories can have both names after a power cut.
func tempName(target string) string { return target + rand.Text()[:tempRandom] + tempSuffix }

const (
	tempRandom = 8
	tempSuffix = ".tmp"
)

var tempEnd = pattern.New(`^[A-Z2-7]{8}\.tmp$`)

// removeTemps removes what interrupted runs left beside a file.
func removeTemps(target string) error {
	dir, name := filepath.Split(target)
	files, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		if end, ok := strings.CutPrefix(f.Name(), name); ok && tempEnd().MatchString(end) && f.Type().IsRegular() {
			faults = append(faults, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(faults...)
}

// copyOver makes a file what another is, as a whole.
func copyOver(from, to string) error {
	temp := tempName(to)
	err := copyFile(from, temp)
	if err == nil {
		err = replace(temp, to)
	}
	if err != nil {
		if rm := os.Remove(temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
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

// removeOthers removes the files of our own directory that no entry names.
func (o Options) removeOthers(named map[string]bool) error {
	files, err := os.ReadDir(o.ownDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		if name := filepath.Join(o.ownDir(), f.Name()); f.Type().IsRegular() && !named[canonical(name)] {
			faults = append(faults, os.Remove(name))
		}
	}
	return errors.Join(faults...)
}

// canonical is the one name of a file, by which names from menus and from directories are compared.
func canonical(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return name
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
