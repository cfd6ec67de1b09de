package initrdsecrets

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/record"
)

// Outcome says what Append did to an image, or what Plan found it would do.
type Outcome struct {
	initrd.Result
	// Entries are what the image has afterwards, without contents; parents are not among them.
	Entries []Entry
	// Salvaged says that a segment which was there was kept, because its values could not be decrypted again.
	Salvaged bool
	// Skipped says that there is no key yet and the image was left as it is, see Options.SkipNoKey.
	Skipped bool
}

// Entry is one entry of a manifest, without its content.
type Entry struct {
	Path string `json:"path"` // in the image
	From string `json:"from"` // what it is made of: `secret "x"`, `template "x"` or `source /x`
	Mode string `json:"mode"` // in octal digits, of the entry itself or of the file it is
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
}

// Append brings the secrets of a manifest into an image, in place of those that an earlier run brought there.
//
// It is all or nothing: when a value, a source or the image is not as it should be, all faults are reported, joined, and the image is
// what it was. When nothing is missing but keys, and the image or the file it is going to replace holds a whole segment
// of the same inputs that this host installed, that one is used and a warning says so.
func Append(ctx context.Context, manifestPath, image string, o Options) (*Outcome, error) {
	outcome, err := o.apply(ctx, manifestPath, image, o.install())
	if err != nil {
		return nil, err
	}
	if !outcome.Skipped {
		o.remember(image, outcome)
		o.warnIfReadable(image)
	}
	return outcome, nil
}

// Plan makes all decisions of Append, decryption included, and writes nothing.
func Plan(ctx context.Context, manifestPath, image string, o Options) (*Outcome, error) {
	return o.apply(ctx, manifestPath, image, o.plan())
}

// change is what installing and planning have in common.
type change func(image string, s *initrd.Segment, o initrd.Options) (initrd.Result, error)

func (o Options) install() change {
	if o.Enclose {
		return installEnclosed
	}
	return initrd.Install
}

func (o Options) plan() change {
	if o.Enclose {
		return planEnclosed
	}
	return initrd.Plan
}

func (o Options) apply(ctx context.Context, manifestPath, image string, to change) (*Outcome, error) {
	j, sourceErr := read(manifestPath, o)
	if j == nil {
		return nil, sourceErr
	}
	values, valueErr := j.values(ctx, o)
	if sourceErr != nil {
		return nil, errors.Join(sourceErr, valueErr)
	}
	inputs, err := j.inputs()
	switch {
	case valueErr != nil && err != nil:
		return nil, valueErr // without its sops files a manifest has no inputs either; that is one fault, not two
	case err != nil:
		return nil, err
	}
	outcome := &Outcome{Entries: j.list()}
	var segment *initrd.Segment
	if valueErr == nil {
		segment, err = j.segment(values, inputs, o)
	} else {
		segment, err = o.salvage(image, inputs, manifestPath, valueErr)
		if err != nil {
			return o.withoutKeys(ctx, j, image, err)
		}
		outcome.Salvaged = true
	}
	if err != nil {
		return nil, err
	}
	outcome.Result, err = to(image, segment, o.image())
	for _, w := range outcome.Warnings {
		o.Warn(w.Text, w.Hint)
	}
	return outcome, err
}

// installedDir is the directory in which the loader looks for the image.
func (o Options) installedDir(image string) string {
	if o.Installed != "" {
		return o.Installed
	}
	return filepath.Dir(image)
}

// remember keeps the records: those of segments that are nowhere any more go, then the one of the new segment comes. It goes in
// that order because a loader that copies the image to its place itself has not done so for this one, but has for all
// before it. A record that cannot be kept costs a later salvage, so it is a warning.
func (o Options) remember(image string, outcome *Outcome) {
	store := record.Open(o.State)
	err := store.Prune(segmentsIn)
	if outcome.Length > 0 && !outcome.Salvaged {
		err = errors.Join(err, store.Add(record.Sum(outcome.Sum), o.installedDir(image)))
	}
	for _, fault := range split(err) {
		o.Warn(fault.Error(), "the image is installed; should its keys be lost later, its secrets cannot be taken over from it")
	}
}
