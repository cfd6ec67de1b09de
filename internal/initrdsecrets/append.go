package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// Report says what Append did to an image, or what Plan found it would do.
type Report struct {
	initrd.Result
	// Image is the name of the image for messages: the one that it will have in the end.
	Image string
	// Entries are what the image has afterwards, without contents; parents are not among them.
	Entries []EntryReport
	// Salvaged says that the segment of an earlier run was kept, because its values cannot be
	// decrypted any more.
	Salvaged bool
	// Skipped says that there is no key yet and the image was left as it is, see Options.SkipNoKey.
	Skipped bool
}

// Append brings the secrets of a manifest into an image, in place of those that an earlier run
// brought there.
//
// It is all or nothing: when a value, a source or the image is not as it should be, all faults
// are reported, joined, and the image is what it was. When nothing is missing but keys, and the
// image or the file it is going to replace holds a whole segment of the same inputs that this
// host installed, that one is used and a warning says so. After a signal nothing is written.
func Append(ctx context.Context, manifestPath, image string, o Options) (*Report, error) {
	report, err := apply(ctx, manifestPath, image, o, initrd.Install)
	if err != nil {
		return nil, err
	}
	if !report.Skipped {
		o.remember(ctx, image, report)
		o.warnIfReadable(image)
	}
	return report, nil
}

// Plan makes all decisions of Append, decryption included, and writes nothing.
func Plan(ctx context.Context, manifestPath, image string, o Options) (*Report, error) {
	return apply(ctx, manifestPath, image, o, initrd.Plan)
}

// change is what installing and planning have in common.
type change func(context.Context, string, *initrd.Segment, initrd.Options) (initrd.Result, error)

// apply is the walk from a manifest to an image, which CONTRIBUTING.md shows as a picture. Each
// step uses what the steps before it found, and none is taken twice.
func apply(ctx context.Context, manifestPath, image string, o Options, to change) (*Report, error) {
	j, sourceErr := read(ctx, manifestPath, o)
	if j == nil {
		return nil, sourceErr
	}
	inputs, inputErr := j.inputs()
	values := resolve.Run(ctx, j.request)
	for _, w := range values.Warnings {
		o.Warn(w)
	}
	if ctx.Err() != nil { // programs that were not waited for look like keys that do not fit
		return nil, stopped(ctx, o.KnownAs(image))
	}
	valueErr := values.Err()
	switch {
	case sourceErr != nil:
		return nil, errors.Join(sourceErr, valueErr)
	case valueErr == nil && inputErr != nil:
		return nil, inputErr
	}
	report := &Report{Image: o.KnownAs(image), Entries: j.list()}
	var segment *initrd.Segment
	var err error
	switch {
	case valueErr == nil:
		if err = j.guard(ctx, values); err != nil {
			break
		}
		if segment = j.sealedBefore(ctx, image, inputs); segment == nil {
			segment, err = j.segment(ctx, values, inputs)
		}
	case inputErr != nil || !values.OnlyKeysMissing():
		err = cli.WithHint(valueErr, report.Image+" was not changed")
	default:
		segment, err = j.salvage(ctx, image, inputs, valueErr)
		if report.Salvaged = err == nil; !report.Salvaged && values.NoKeyYet() {
			err = o.withoutKey(report, err)
			if report.Skipped {
				return report, nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	report.Result, err = to(ctx, image, segment, o.image(image))
	if report.Action != initrd.Unchanged {
		for _, note := range j.notes {
			o.Warn(note)
		}
	}
	for _, w := range report.Warnings {
		o.Warn(w.Text, w.Hint)
	}
	return report, err
}

// stopped says that a signal ended a run before it wrote anything.
func stopped(ctx context.Context, image string) error {
	return cli.WithHint(fmt.Errorf("append: %w", context.Cause(ctx)), image+" was not changed")
}

// withoutKey decides what becomes of a run on a machine that has no key at all yet; fault is what
// came of trying. Options.SkipNoKey makes it a loud warning and leaves the image as it is.
func (o Options) withoutKey(report *Report, fault error) error {
	if !o.SkipNoKey {
		return cli.WithHint(fault, "on a machine that is being installed, put its key in place first "+
			"(nixos-anywhere --extra-files), or let --when-no-key=skip leave the secrets out for now")
	}
	o.Warn(fmt.Sprintf("NOT PROVISIONED: %s is installed without its initrd secrets, because "+
		"this machine has no key yet", report.Image),
		"when its key is in place, install the boot loader again (nixos-rebuild boot); "+
			"under lanzaboote remove the stub of this generation before",
		"sops-initrd status shows what is without secrets")
	report.Result, report.Skipped = initrd.Result{Action: initrd.Unchanged}, true
	return nil
}

// installedDir is the directory in which the loader looks for the image.
func (o Options) installedDir(image string) string {
	if o.Installed != "" {
		return o.Installed
	}
	return filepath.Dir(image)
}

// remember keeps the records: those of segments that are nowhere any more go, then the one of
// the new segment comes. It goes in that order because a loader that copies the image to its
// place itself has not done so for this one, but has for all before it. A record that cannot be
// kept costs a later salvage, so it is a warning.
func (o Options) remember(ctx context.Context, image string, report *Report) {
	store := record.In(o.State)
	err := store.Prune(func(dir string) (map[record.Sum]bool, error) { return segmentsIn(ctx, dir) })
	if report.Length > 0 && !report.Salvaged {
		err = errors.Join(err, store.Add(record.Sum(report.Sum), o.installedDir(image)))
	}
	told := make(map[string]bool)
	for _, fault := range split(err) {
		if text := fault.Error(); !told[text] {
			told[text] = true
			o.Warn(text, "the image is installed; should its keys be lost later, its secrets cannot be "+
				"taken over from it")
		}
	}
}
