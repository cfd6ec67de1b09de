package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
)

// sameBase says whether one of an entry's initrds, without the secrets behind it, is byte for byte
// the initrd of its system.
func sameBase(ctx context.Context, system System, e Entry) (bool, error) {
	pristine, err := os.Open(system.initrd())
	if err != nil {
		return true, fmt.Errorf("cannot compare with the initrd of the system: %w", err)
	}
	defer func() { _ = pristine.Close() }() // only read from
	var faults []error
	for _, image := range slices.Backward(e.Initrds) {
		same, err := beginsAs(ctx, pristine, image, e.Embedded)
		if same {
			return true, nil
		}
		faults = append(faults, err)
	}
	return false, errors.Join(faults...)
}

// beginsAs compares what an image has before its secrets with a file.
func beginsAs(ctx context.Context, pristine *os.File, image string, embedded bool) (bool, error) {
	r, size, closer, err := openImage(image, embedded)
	if err != nil {
		return false, err
	}
	defer func() { _ = closer.Close() }() // only read from
	i, err := initrd.NewImage(r, size)
	if err != nil || i.Enclosed() {
		return false, err
	}
	return i.HasBase(ctx, pristine)
}

func openImage(image string, embedded bool) (io.ReaderAt, int64, io.Closer, error) {
	if embedded {
		return EmbeddedInitrd(image)
	}
	f, err := os.OpenFile(image, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, info.Size(), f, nil
}

// Running has the system that runs, or is given, and the images that boot entries load for it.
type Running struct {
	System System
	Images []string // those with its secrets, or the last of each entry
}

// CurrentSystem is where NixOS has the link to the system that runs.
const CurrentSystem = "/run/current-system"

// DefaultSystem is the link to the system that boots by default.
const DefaultSystem = "/nix/var/nix/profiles/system"

// ImagesOf finds what boot entries load for a system. It is an error when no entry boots it.
func ImagesOf(
	ctx context.Context, toplevel string, boots []string, variables string,
) (*Running, error) {
	r := &Running{System: Open(toplevel)}
	if r.System.Gone() {
		return nil, fmt.Errorf("system %s: not found", toplevel)
	}
	for n, boot := range boots {
		if n > 0 {
			variables = ""
		}
		d, err := OpenDir(boot)
		if err != nil {
			return nil, err
		}
		menus, err := menusOf(d, variables)
		if err = errors.Join(err, d.Close()); err != nil {
			return nil, err
		}
		for _, m := range menus {
			for _, e := range m.Entries {
				if absolute(e.Toplevel) == r.System.Toplevel && !e.Embedded && len(e.Initrds) > 0 {
					r.Images = append(r.Images, withSecrets(ctx, e.Initrds))
				}
			}
		}
	}
	slices.Sort(r.Images)
	r.Images = slices.Compact(r.Images)
	if len(r.Images) == 0 {
		return nil, fmt.Errorf("no boot entry in %q loads an initrd for system %s",
			boots, r.System.Toplevel)
	}
	return r, nil
}

func withSecrets(ctx context.Context, images []string) string {
	for _, image := range slices.Backward(images) {
		if holdsSecrets(ctx, image) {
			return image
		}
	}
	return images[len(images)-1]
}
