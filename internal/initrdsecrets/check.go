package initrdsecrets

import (
	"errors"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// CheckOptions say how far Check looks.
type CheckOptions struct {
	// ManifestOnly leaves the sops files alone: they may not be there yet.
	ManifestOnly bool
	// Hosts are public keys of which every sops file has to be encrypted for at least one; none asks
	// for nothing.
	Hosts []recipient.Key
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
	if o.ManifestOnly {
		return m, resolve.Check(all, resolve.CheckManifest)
	}
	err = resolve.Check(all, resolve.CheckSopsFile)
	if len(o.Hosts) > 0 {
		err = errors.Join(append(split(err), split(resolve.CheckRecipients(all, o.Hosts))...)...)
	}
	return m, err
}
