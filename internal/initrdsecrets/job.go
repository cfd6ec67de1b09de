package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/lockout"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// Options say how a manifest is brought into an image.
type Options struct {
	// Base is the pristine initrd that the image was made from; "" when it is not known.
	Base string
	// AllowInPlace permits overwriting the tail of an image when there is no room for a second copy.
	AllowInPlace bool
	// AllowLooseKeys accepts SSH private keys that sshd does not load.
	AllowLooseKeys bool
	// SkipNoKey leaves an image without secrets, and warns loudly, where the host has no key yet.
	SkipNoKey bool
	// State is the directory of the records of what this host installed.
	State string
	// Replaces are the files of which the loader will replace one with the image: it then has the
	// first one's name, and a segment in one of them may be salvaged. Without any, they are guessed
	// from the image's name.
	Replaces []string
	// Installed is the directory to which the loader copies the image, when that is another one.
	Installed string
	// Enclose makes an image that is nothing but a compressed segment, for loaders that join initrds
	// without padding.
	Enclose bool
	// Getenv looks up the variables that the caller set on purpose for sops.
	Getenv func(string) string
	// Timeout limits each wait for a program (gpg, a plugin of age) or key service; 0 means what the
	// manifest says, else 30 s.
	Timeout time.Duration
	// Warn is called with conditions under which the run still does what was asked. Empty hints are
	// none.
	Warn func(text string, hints ...string)
	// Guard says what becomes of a run after which stage 1 would lock its owner out.
	Guard lockout.Mode
	// TPM names the TPM that seals; "" is the one that the manifest names, else the kernel's.
	TPM string
	// SealFor is a file with the public key of another machine's TPM, to seal for that one.
	SealFor string
}

func (o Options) image(image string) initrd.Options {
	return initrd.Options{
		Base: o.Base, Enclose: o.Enclose, AllowInPlace: o.AllowInPlace,
		Name: o.KnownAs(image),
	}
}

// job is a manifest of which the files on this host have been read: all but the sops files.
type job struct {
	Options
	path     string // of the manifest
	manifest *manifest.Initrd
	sources  map[int][]initrd.Entry // of the entries that are files on this host, by index
	// for what the entries need: other secrets of the list do not matter
	request resolve.Request
	files   resolve.Files // that both the digest and the values come from
	sealing sealing       // how entries are protected on the boot partition
	notes   []string      // what was mended on the way, told when the image changes
}

// read reads a manifest and the files of this host that it names. Without a job the manifest itself
// is at fault; with a job and an error there are sources that cannot be read.
func read(ctx context.Context, path string, o Options) (*job, error) {
	m, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	j := &job{Options: o, path: path, manifest: m, sources: make(map[int][]initrd.Entry)}
	secrets, templates := make(map[string]bool), make(map[string]bool)
	sources := &reader{ctx, maxSourceBytes}
	var faults []error
	for i, e := range m.Entries {
		if e.Source == "" {
			secrets[e.Secret], templates[e.Template] = true, true
			continue
		}
		entries, warnings, err := sources.entries(e)
		for _, fault := range split(err) {
			faults = append(faults, fmt.Errorf("entry %s: %w", e.Path, fault))
		}
		for _, w := range warnings {
			o.Warn("entry " + e.Path + ": " + w)
		}
		j.sources[i] = entries
	}
	j.request = everything(m).Only(secrets, templates)
	j.request.Files, j.request.Getenv, j.request.Timeout = &j.files, o.Getenv, o.Timeout
	j.sealing, err = o.sealing(ctx, m)
	return j, errors.Join(append(faults, err)...)
}

// everything asks for all secrets and templates of a manifest.
func everything(m *manifest.Initrd) resolve.Request {
	return resolve.Request{
		Keys: m.Keys, Secrets: m.Secrets, Templates: m.Templates, Placeholders: m.Placeholders,
	}
}

// stageOne is what stage 1 of NixOS expects of entries.
func stageOne() initrd.Profile {
	return initrd.Profile{
		CopyDir: manifest.DefaultPrefix, CannotCopy: manifest.CannotCopy,
		NeedBase: true,
	}
}

// segment makes the segment of all entries, in memory.
func (j *job) segment(ctx context.Context, values *resolve.Result,
	inputs initrd.Digest,
) (*initrd.Segment, error) {
	var entries []initrd.Entry
	origin := make(map[int]manifest.Entry) // of entries that are values, by index
	for i, e := range j.manifest.Entries {
		switch {
		case e.Secret != "":
			origin[len(entries)] = e
			entries = append(entries, valueEntry(e, values.Secrets[e.Secret]))
		case e.Template != "":
			origin[len(entries)] = e
			entries = append(entries, valueEntry(e, values.Templates[e.Template]))
		default:
			entries = append(entries, j.sources[i]...)
		}
	}
	if err := j.checkKeys(entries, true); err != nil {
		return nil, err
	}
	entries, err := j.seal(ctx, entries, origin)
	if err != nil {
		return nil, err
	}
	return initrd.NewSegment(entries, inputs, stageOne())
}

func valueEntry(e manifest.Entry, v resolve.Value) initrd.Entry {
	return initrd.Entry{
		Path: e.ImagePath(), Mode: declaredMode(e), UID: e.UID, GID: e.GID,
		Data: v.Data,
	}
}

// defaultMode is what a secret or template gets that has no mode of its own.
const defaultMode fs.FileMode = 0o400

func declaredMode(e manifest.Entry) fs.FileMode {
	if e.Mode != nil {
		return *e.Mode
	}
	return defaultMode
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	//nolint:errorlint // only a join itself is taken apart
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.Clone(joined.Unwrap())
	}
	return []error{err}
}
