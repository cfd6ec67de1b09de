package initrdsecrets

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// CheckOptions say how far Check looks.
type CheckOptions struct {
	// ManifestOnly leaves the sops files alone: they may not be there yet.
	ManifestOnly bool
	// AllowLooseKeys accepts SSH private keys that sshd does not load.
	AllowLooseKeys bool
	// Hosts are public keys of which every sops file has to be encrypted for at least one; none asks
	// for nothing.
	Hosts []recipient.Key
	// Warn is told of values that are perhaps not what their author wrote.
	Warn func(text string)
}

// Check validates a manifest and the sops files it names without any key and without the files of
// this host: for builds.
func Check(path string, o CheckOptions) (*manifest.Initrd, error) {
	m, err := manifest.ReadInitrd(path) // or one of activation, whose secrets are checked alike
	if err != nil {
		return nil, err
	}
	// All secrets of the list, also those that no entry uses yet: a fault in them is better found now.
	all := everything(m)
	all.Files = new(resolve.Files)
	level := resolve.CheckSopsFile
	if o.ManifestOnly {
		level = resolve.CheckManifest
	}
	faults := append(split(resolve.Check(all, level)), split(checkEntries(m, o))...)
	if !o.ManifestOnly {
		if !o.AllowLooseKeys {
			faults = append(faults, split(checkKeySizes(m, resolve.Sizes(all)))...)
		}
		for _, w := range resolve.Warnings(all) {
			o.Warn(w)
		}
	}
	if len(o.Hosts) > 0 {
		faults = append(faults, split(resolve.CheckRecipients(all, o.Hosts))...)
	}
	return m, errors.Join(faults...)
}

// checkEntries makes the segment of a manifest without its values, so that a build refuses what
// a run would refuse. A source may be a directory, below which there is room for other entries.
func checkEntries(m *manifest.Initrd, o CheckOptions) error {
	var all, known, unknown []initrd.Entry
	for _, e := range m.Entries {
		entry := valueEntry(e, resolve.Value{})
		switch {
		case e.Source != "":
			entry.Mode = fs.ModeDir | 0o755
		case e.Template != "":
			part := everything(m).Only(nil, map[string]bool{e.Template: true})
			if len(part.Secrets) == 0 && len(part.Templates) == 1 && part.Templates[0].File == "" {
				entry.Data = []byte(part.Templates[0].Content)
				known = append(known, entry)
				break
			}
			fallthrough
		default:
			unknown = append(unknown, entry)
		}
		all = append(all, entry)
	}
	_, err := initrd.NewSegment(all, initrd.Digest{}, stageOne())
	j := &job{manifest: m, Options: Options{AllowLooseKeys: o.AllowLooseKeys}}
	return errors.Join(slices.Concat(split(err), split(j.checkKeys(known, true)),
		split(j.checkKeys(unknown, false)))...)
}
