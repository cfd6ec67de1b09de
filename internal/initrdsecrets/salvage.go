package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// salvage finds the segment that an earlier run made of the same inputs, now that cause keeps
// this run from making it again.
//
// Boot directories may be written by others (a FAT file system has no owners at all), and what
// is taken over here may end in a signed image. So a segment counts only if it is whole, was
// made of these very inputs, lies in a file that nobody else can have written, and if this host
// has a record of having installed exactly these bytes in that directory.
func (j *job) salvage(ctx context.Context, image string, inputs initrd.Digest,
	cause error,
) (*initrd.Segment, error) {
	store, known := record.In(j.State), j.KnownAs(image)
	var refusals []string
	for _, candidate := range j.candidates(image) {
		segment, err := take(ctx, candidate, inputs, store)
		switch {
		case err == nil:
			j.Warn(fmt.Sprintf("%s: kept the segment that is in %s, since manifest %s cannot be "+
				"decrypted any more",
				known, candidate, j.path), reasons(cause)...)
			return segment, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, initrd.ErrNoSegment), errors.Is(err,
			initrd.ErrStale):
		default:
			refusals = append(refusals, fmt.Sprintf("the segment in %s is not used instead: %v", candidate,
				err))
		}
	}
	return nil, cli.WithHint(cause, append(refusals, known+" was not changed")...)
}

func reasons(cause error) []string {
	var texts []string
	for _, err := range split(cause) {
		texts = append(texts, err.Error())
	}
	return texts
}

// The names under which foreign installers have an image made before they give it its own.
var (
	// systemdBootTemp is made by Python's tempfile from the final name (nixpkgs,
	// systemd-boot-builder.py), and install-loader names copies for other systems' appenders like it.
	systemdBootTemp = pattern.New(`^(.+)[a-zA-Z0-9_]{8}\.tmp$`)
	// grubTemp is made by Perl's File::Temp (nixpkgs, install-grub.pl).
	grubTemp = pattern.New(`^(.+-secrets)\.[a-zA-Z0-9_]{8}$`)
	// limineTemp is made by Python's tempfile from the name of the toplevel (nixpkgs,
	// limine-install.py).
	limineTemp = pattern.New(`^tmp[a-z0-9_]{8}(.+-secrets)$`)
)

// replaces are the files of which the loader will replace one with the image. The first one's name
// is the one that users know.
func (o Options) replaces(image string) []string {
	if len(o.Replaces) > 0 {
		return o.Replaces
	}
	dir, name := filepath.Split(image)
	for _, temp := range []pattern.Lazy{systemdBootTemp, grubTemp} {
		if m := temp().FindStringSubmatch(name); m != nil {
			return []string{filepath.Join(dir, m[1])}
		}
	}
	if m := limineTemp().FindStringSubmatch(name); m != nil && o.Installed != "" {
		// What limine boots is a copy with a longer name, which older installers never refresh.
		return []string{filepath.Join(o.Installed, "kernels-"+m[1]), filepath.Join(o.Installed, m[1])}
	}
	return nil
}

// candidates are the files that may hold an earlier segment.
func (o Options) candidates(image string) []string {
	return append([]string{image}, o.replaces(image)...)
}

// KnownAs is the name under which users know an image: that of the file it is going to replace.
func (o Options) KnownAs(image string) string {
	if others := o.replaces(image); len(others) > 0 {
		return others[0]
	}
	return image
}

// take reads the segment of a file, if all that is asked of it is true.
func take(ctx context.Context, name string, inputs initrd.Digest,
	store *record.Store,
) (*initrd.Segment, error) {
	f, err := openOwn(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	i, err := initrd.NewImage(f, info.Size())
	if err != nil {
		return nil, err
	}
	if err := i.Verify(ctx, &inputs); err != nil {
		return nil, err
	}
	found, err := i.Segment(ctx)
	if err != nil {
		return nil, err
	}
	known, err := store.Has(record.Sum(found.Sum), filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, errors.New("this host has no record of having installed it there")
	}
	return i.Extract(ctx, stageOne())
}

// openOwn opens a file that only this user, or root, can have written or put there.
func openOwn(name string) (*os.File, error) {
	dir, err := os.OpenFile(filepath.Dir(name), hostfile.OpenPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // only read from
	if err := own(dir, fs.ModeDir, "its directory"); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(dir.Fd()), filepath.Base(name),
		unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("it is a symbolic link")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if err := own(f, 0, "it"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// own says whether an opened file or directory is of the given type and only this user, or
// root, can have written it.
func own(f *os.File, kind fs.FileMode, what string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	who := hostfile.Writers(info)
	switch {
	case info.Mode().Type() != kind:
		return fmt.Errorf("%s is %s", what, hostfile.Kind(info.Mode()))
	case who != "":
		return fmt.Errorf("%s %s", what, who)
	case kind == 0 && info.Sys().(*syscall.Stat_t).Nlink != 1:
		return fmt.Errorf("%s is a hard link", what)
	}
	return nil
}

// segmentsIn has the sums of all whole segments in the files of a directory.
func segmentsIn(ctx context.Context, dir string) (map[record.Sum]bool, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sums := make(map[record.Sum]bool)
	for _, d := range files {
		if !d.Type().IsRegular() {
			continue
		}
		found, err := Find(ctx, filepath.Join(dir, d.Name()))
		switch {
		case err == nil && found.Whole:
			sums[record.Sum(found.Sum)] = true
		case err == nil, errors.Is(err, initrd.ErrNoSegment), errors.Is(err, fs.ErrNotExist):
		default:
			return nil, err
		}
	}
	return sums, nil
}
