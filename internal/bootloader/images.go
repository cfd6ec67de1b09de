package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// ownName is the directory for images of our own, below the boot directory. The installers'
// directories are no place for them: what an installer did not put there itself, it removes.
const ownName = "sops-initrd"

const imageSuffix = "-initrd"

// imageName is the name of a system's image. It has the name of the system, so that no two systems
// ever share one.
func imageName(s System) string { return s.Name() + imageSuffix }

// ownImages gives every system with secrets an initrd of its own: a copy of the one that its entry
// names, with its secrets behind it. It is one initrd, not a second one beside the first, because
// U-Boot reads one only, and rEFInd, the kernel's EFI loader and systemd-boot join several without
// padding. Where an entry's file has a fixed name, the secrets go into that file.
//
// An entry never names a file that is not there: images come first, then the menu, then what no
// entry names any more is removed.
func ownImages(ctx context.Context, r *run, menu *Menu) error {
	made := make(map[string]string) // by toplevel, below the boot directory
	tried := make(map[string]bool)
	initrds := make(map[int]string)
	found := false // an entry of the default that the installer wrote
	var faults []error
	for i, e := range menu.Entries {
		s := Open(e.Toplevel)
		if s.Appender == "" || len(e.Initrds) == 0 || !r.wrote(ctx, e) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(faults, err)...)
		}
		found = found || s.Toplevel == r.fallback.Toplevel
		if e.InPlace {
			if !tried[e.Initrds[0]] {
				tried[e.Initrds[0]] = true
				faults = append(faults, r.report(s, r.inPlace(ctx, s, e)))
			}
			continue
		}
		if !tried[s.Toplevel] {
			tried[s.Toplevel] = true
			image, err := r.ownImage(ctx, s, e)
			faults = append(faults, r.report(s, err))
			made[s.Toplevel] = image
		}
		if image := made[s.Toplevel]; image != "" {
			initrds[i] = image
		}
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(append(faults, err)...)
	}
	if !found && r.fallback.Appender != "" {
		faults = append(faults, fmt.Errorf("system %s: the installer wrote no entry for it in %s",
			r.fallback.Toplevel, r.boot))
	}
	if err := menu.SetInitrds(initrds); err != nil {
		return errors.Join(append(faults, err)...)
	}
	named, err := r.forget(menu)
	if err == nil {
		err = r.removeOthers(ctx, named)
	}
	return errors.Join(append(faults, err)...)
}

// forget removes records of systems that are gone, and says which files the entries name that
// remain.
func (r *run) forget(menu *Menu) (*files, error) {
	named := newFiles()
	for _, f := range menu.foreign {
		named.add(f)
	}
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
			named.add(i)
		}
	}
	return named, nil
}

// makeOwnDir makes our own directory. A link in its place leads elsewhere, and is not followed.
func (r *run) makeOwnDir() error {
	own := r.dir.host(ownName)
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(own)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is %s, not a directory: it is not used", own, describe(info.Mode()))
	}
	return err
}

// ownImage makes the image of a system in our own directory, and says its name below the boot
// directory.
func (r *run) ownImage(ctx context.Context, s System, e Entry) (string, error) {
	if err := r.makeOwnDir(); err != nil {
		return "", err
	}
	name := path.Join(ownName, imageName(s))
	base, target := s.initrd(), r.dir.host(name)
	if e.Initrds[len(e.Initrds)-1] != target { // else the entry was not written anew
		var err error
		if base, err = r.place(e); err != nil {
			return "", err
		}
	}
	if _, err := r.dir.ours(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	ok, err := r.image(ctx, s, base, target)
	if !ok {
		return "", err
	}
	return name, err
}

// inPlace puts a system's secrets into the file that its entry loads.
func (r *run) inPlace(ctx context.Context, s System, e Entry) error {
	file, err := r.place(e)
	if err != nil {
		return err
	}
	if err := removeTemps(file); err != nil {
		return err
	}
	if r.kept != "" && s.Toplevel == r.fallback.Toplevel {
		r.Hook.Warn(fmt.Sprintf("system %s: its initrd secrets cannot be made any more; "+
			"the image that was there before is kept",
			s.Toplevel))
		return copyOver(r.kept, file)
	}
	if s.Manifest == "" {
		_, err := r.image(ctx, s, s.initrd(), file)
		return err
	}
	// Our own appender knows the pristine initrd, and changes a file as a whole.
	err = r.runAppender(ctx, s, file)
	switch {
	case !r.isWhole(ctx, file):
		*r.lacking = *r.lacking || !wantsNone(s) // there may have been no key yet
	case err != nil:
		err = fmt.Errorf("kept its earlier image: %w", err)
	}
	return err
}

// image makes the image of a system under a name of its own, or says that an earlier one is as
// good: one of that name holds the secrets of that system, as long as it is whole. Otherwise what
// is there stays, and ok is false.
func (r *run) image(ctx context.Context, s System, base, target string) (ok bool, err error) {
	whole := r.isWhole(ctx, target)
	if whole && s.Manifest != "" { // our own appender changes an image as a whole, or not at all
		if err := r.runAppender(ctx, s, target); err != nil {
			return true, fmt.Errorf("kept its earlier image: %w", err)
		}
		return true, nil
	}
	temp := tempName(target)
	err = copyFile(base, temp)
	if err == nil {
		err = r.runAppender(ctx, s, temp)
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

func (r *run) isWhole(ctx context.Context, image string) bool {
	state, _, err := initrdsecrets.Verify(ctx, "", image, r.Hook)
	return err == nil && state == initrdsecrets.Whole
}

// removeOthers removes the images of our own directory that no entry names. What is not recognised
// as an image of ours is somebody else's and stays.
func (r *run) removeOthers(ctx context.Context, named *files) error {
	found, err := r.dir.readDir(ownName)
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range found {
		name := r.dir.host(path.Join(ownName, f.Name()))
		if f.Type().IsRegular() && !named.has(name) && isOwnImage(ctx, name) {
			faults = append(faults, os.Remove(name))
		}
	}
	return errors.Join(faults...)
}

// isOwnImage says whether a file of our own directory has a name and content that we give to
// images, whole or half copied.
func isOwnImage(ctx context.Context, file string) bool {
	name := filepath.Base(file)
	if i := len(name) - tempRandom - len(tempSuffix); i > 0 && tempEnd().MatchString(name[i:]) {
		name = name[:i]
	}
	if _, err := initrdsecrets.Find(ctx, file); err == nil {
		return true
	}
	return strings.HasSuffix(name, imageSuffix) && isArchive(file)
}
