package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// Options say how a manifest is brought into an image.
type Options struct {
	// Base is the pristine initrd that the image was made from; "" when it is not known.
	Base string
	// AllowInPlace permits overwriting the tail of an image when there is no room for a second copy of it.
	AllowInPlace bool
	// AllowLooseKeys accepts SSH private keys with modes that sshd refuses.
	AllowLooseKeys bool
	// SkipNoKey leaves an image without secrets, and warns loudly, where the host has no key at all yet.
	SkipNoKey bool
	// State is the directory of the records of what this host installed.
	State string
	// Installed is the directory to which the loader copies the image afterwards, when that is not where the image is.
	Installed string
	// Enclose makes an image that is nothing but a compressed segment, for loaders that join initrds without padding.
	Enclose bool
	// Getenv looks up the variables that the caller set on purpose for sops.
	Getenv func(string) string
	// Timeout is how long one program (gpg, a plugin of age) or one key service is waited for; 0 means 30 s.
	Timeout time.Duration
	// Warn is called with conditions under which the run still does what was asked. Empty hints are none.
	Warn func(text string, hints ...string)
}

func (o Options) image() initrd.Options {
	return initrd.Options{Base: o.Base, AllowInPlace: o.AllowInPlace}
}

// job is a manifest whose files on this host have been read: all of it but what is in sops files.
type job struct {
	manifest *manifest.Initrd
	sources  map[int][]initrd.Entry // of the entries that are files on this host, by index
	files    resolve.Files          // that both the digest and the values come from
}

// read reads a manifest and the files of this host that it names. Without a job the manifest itself is at fault; with a job
// and an error there are sources that cannot be read.
func read(path string, o Options) (*job, error) {
	m, err := manifest.ReadInitrd(path)
	if err != nil {
		return nil, err
	}
	j := &job{manifest: m, sources: make(map[int][]initrd.Entry)}
	var faults []error
	for i, e := range m.Entries {
		if e.Source == "" {
			continue
		}
		entries, warnings, err := sourceEntries(e)
		for _, fault := range split(err) {
			faults = append(faults, fmt.Errorf("entry %s: %w", e.Path, fault))
		}
		for _, w := range warnings {
			o.Warn("entry " + e.Path + ": " + w)
		}
		j.sources[i] = entries
	}
	return j, errors.Join(faults...)
}

// CheckOptions say how far Check looks.
type CheckOptions struct {
	// ManifestOnly leaves the sops files alone: they may not be there yet.
	ManifestOnly bool
	// Hosts are public keys of which every sops file has to be encrypted for at least one; none asks for nothing.
	Hosts []recipient.Key
}

// Check validates a manifest and the sops files it names without any key and without the files of this host: for builds.
func Check(path string, o CheckOptions) (*manifest.Initrd, error) {
	m, err := manifest.ReadInitrd(path)
	if err != nil {
		return nil, err
	}
	// All secrets of the list, also those that no entry uses yet: a fault in them is better found now.
	all := resolve.Request{Keys: m.Keys, Secrets: m.Secrets, Templates: m.Templates, Placeholders: m.Placeholders}
	if o.ManifestOnly {
		return m, resolve.Check(all, resolve.CheckManifest)
	}
	err = resolve.Check(all, resolve.CheckSopsFile)
	if len(o.Hosts) > 0 {
		err = errors.Join(append(split(err), split(resolve.CheckRecipients(all, o.Hosts))...)...)
	}
	return m, err
}

// values decrypts and renders what the entries need.
func (j *job) values(ctx context.Context, o Options) (*resolve.Result, error) {
	req := j.needed()
	req.Getenv, req.Timeout = o.Getenv, o.Timeout
	result := resolve.Run(ctx, req)
	for _, w := range result.Warnings {
		o.Warn(w)
	}
	return result, result.Err()
}

// segment makes the segment of all entries, in memory.
func (j *job) segment(values *resolve.Result, inputs initrd.Digest, o Options) (*initrd.Segment, error) {
	var entries []initrd.Entry
	for i, e := range j.manifest.Entries {
		switch {
		case e.Secret != "":
			entries = append(entries, valueEntry(e, values.Secrets[e.Secret]))
		case e.Template != "":
			entries = append(entries, valueEntry(e, values.Templates[e.Template]))
		default:
			entries = append(entries, j.sources[i]...)
		}
	}
	if err := j.checkKeys(entries, o); err != nil {
		return nil, err
	}
	return initrd.NewSegment(entries, inputs)
}

func valueEntry(e manifest.Entry, v resolve.Value) initrd.Entry {
	return initrd.Entry{Path: e.ImagePath(), Mode: declaredMode(e), UID: e.UID, GID: e.GID, Data: v.Data}
}

// checkKeys refuses SSH private keys that sshd would not load. Where the mode is not the manifest's but that of a file on this
// host, it only warns: NixOS sets the mode of such host keys before it starts sshd.
func (j *job) checkKeys(entries []initrd.Entry, o Options) error {
	if o.AllowLooseKeys {
		return nil
	}
	inherited := make(map[string]bool)
	for i, list := range j.sources {
		for _, e := range list {
			inherited[e.Path] = j.manifest.Entries[i].Mode == nil
		}
	}
	var faults []error
	for _, e := range entries {
		if !e.Mode.IsRegular() || !looseKey(e.Data, e.Mode) {
			continue
		}
		text := fmt.Sprintf("entry %s: an SSH private key with mode %#o, which sshd does not load", e.Path, e.Mode.Perm())
		if inherited[e.Path] {
			o.Warn(text)
			continue
		}
		faults = append(faults, cli.WithHint(errors.New(text), `give it mode "0400", or say --allow-loose-keys if no sshd reads it`))
	}
	return errors.Join(faults...)
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only a join itself is taken apart
		return slices.Clone(joined.Unwrap())
	}
	return []error{err}
}
