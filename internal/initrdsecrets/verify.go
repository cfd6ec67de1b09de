package initrdsecrets

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// State says what an image holds of ours.
type State string

// The states of an image.
const (
	// it ends in a whole segment of ours; with a manifest, in the one of that manifest
	Whole   State = "whole"
	Missing State = "missing" // it has no segment of ours
	Damaged State = "damaged" // the segment is torn or was changed
	Unknown State = "unknown" // the segment has a version that this program does not know
	// the segment is whole, but was made of other inputs than the manifest has now
	Stale   State = "stale"
	Surplus State = "surplus" // the segment is whole, but the manifest wants none
	// OtherBase is the state of an image that is otherwise as it should be, but has another base than
	// Options.Base.
	OtherBase State = "other base"
)

// Fine says whether the image is as it should be: whole, or without a segment where the
// manifest wants none.
func (s State) Fine(wanted bool) bool { return s == Whole || s == Missing && !wanted }

// NoKeyYet says, without reading any key, that a manifest names files with keys of this host, none
// of which exists.
func NoKeyYet(manifestPath string) bool {
	m, err := manifest.ReadInitrd(manifestPath)
	if err != nil {
		return false
	}
	paths := m.Keys.Paths()
	return len(paths) > 0 && !slices.ContainsFunc(paths, func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// Verify says what the image holds of ours, compared with the manifest if one is given, and
// with Options.Base. It needs no key: what was encrypted is compared, and the files of this
// host that the manifest names. wanted says whether there should be a segment at all.
func Verify(ctx context.Context, manifestPath, image string, o Options) (state State, wanted bool,
	err error,
) {
	want, wanted, err := inputsOf(ctx, manifestPath, o)
	if err != nil {
		return "", false, err
	}
	i, err := OpenImage(image)
	if err != nil {
		return "", wanted, err
	}
	defer func() { _ = i.Close() }() // only read from
	state, err = compare(ctx, i, want, wanted)
	if err == nil && o.Base != "" && state.Fine(wanted) {
		var same bool
		if same, err = hasBase(ctx, i, o.Base); !same {
			state = OtherBase
		}
	}
	return state, wanted, err
}

func hasBase(ctx context.Context, i *initrd.Image, base string) (bool, error) {
	f, err := os.Open(base)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read from
	return i.HasBase(ctx, f)
}

// OpenImage opens an image. What is a manifest or a sops file is an error.
func OpenImage(name string) (*initrd.Image, error) {
	i, err := initrd.Open(name)
	if err != nil {
		return nil, err
	}
	if err := wrongKind(name, "an image"); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// VerifyReader is Verify for an image that is part of another file.
func VerifyReader(ctx context.Context, manifestPath string, r io.ReaderAt, size int64,
	o Options,
) (state State, wanted bool, err error) {
	want, wanted, err := inputsOf(ctx, manifestPath, o)
	if err != nil {
		return "", false, err
	}
	i, err := initrd.NewImage(r, size)
	if err != nil {
		return "", wanted, err
	}
	state, err = compare(ctx, i, want, wanted)
	return state, wanted, err
}

// inputsOf has the digest that a manifest's segment must have, nil without a manifest, and
// whether it wants a segment at all.
func inputsOf(ctx context.Context, manifestPath string, o Options) (want *initrd.Digest,
	wanted bool, err error,
) {
	if manifestPath == "" {
		return nil, true, nil
	}
	j, err := read(ctx, manifestPath, o)
	if err != nil {
		return nil, false, err
	}
	inputs, err := j.inputs()
	return &inputs, len(j.manifest.Entries) > 0, err
}

func compare(ctx context.Context, i *initrd.Image, want *initrd.Digest, wanted bool) (State,
	error,
) {
	err := i.Verify(ctx, want)
	switch {
	case errors.Is(err, initrd.ErrNoSegment):
		return Missing, nil
	case errors.Is(err, initrd.ErrDamaged):
		return Damaged, nil
	case errors.Is(err, initrd.ErrVersion):
		return Unknown, nil
	case errors.Is(err, initrd.ErrStale) && wanted:
		return Stale, nil
	case err == nil && wanted:
		return Whole, nil
	case err == nil, errors.Is(err, initrd.ErrStale):
		return Surplus, nil
	}
	return "", err
}

// Find looks for a segment of ours at the end of an image.
func Find(ctx context.Context, image string) (*initrd.Installed, error) {
	i, err := initrd.Open(image)
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.Close() }() // only read from
	return i.Segment(ctx)
}
