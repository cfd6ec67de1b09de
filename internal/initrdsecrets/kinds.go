package initrdsecrets

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// What a file in JSON may be taken for by mistake.
const (
	initrdManifest     = "an initrd manifest"
	activationManifest = "a manifest of sops-install-secrets"
	sopsFileKind       = "a sops file"
)

// kindOf says which of our kinds of JSON a file is; "" for all others, images above all.
func kindOf(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	var first [1]byte
	_, err = f.Read(first[:])
	if err = errors.Join(err, f.Close()); err != nil || first[0] != '{' {
		return "", nil //nolint:nilerr // nothing to read, or an image, which may be large
	}
	const maxBytes = 64 << 20 // of a manifest or sops file
	data, err := inputfile.Read(path, maxBytes)
	if err != nil {
		return "", err
	}
	var fields struct{ Version, Entries, Secrets, Sops json.RawMessage }
	switch err := json.Unmarshal(data, &fields); {
	case err != nil:
		return "", nil //nolint:nilerr // whatever it is, it is none of them
	case fields.Sops != nil:
		return sopsFileKind, nil
	case fields.Entries != nil:
		return initrdManifest, nil
	case fields.Secrets != nil && fields.Version != nil:
		return activationManifest, nil
	}
	return "", nil
}

// wrongKind says that a file cannot be read, or is a manifest or a sops file where something
// else is wanted.
func wrongKind(path, wanted string) error {
	kind, err := kindOf(path)
	switch {
	case err != nil:
		return err
	case kind == "" || kind == wanted:
		return nil
	}
	err = fmt.Errorf("%s: this is %s, not %s", path, kind, wanted)
	if kind != sopsFileKind {
		err = cli.WithHint(err, "to use it, say --manifest "+path)
	}
	return err
}

// readManifest reads an initrd manifest. One of activation has no entries: taken for an initrd
// manifest without any, it would remove the secrets of an image.
func readManifest(path string) (*manifest.Initrd, error) {
	m, err := manifest.ReadInitrd(path)
	if err != nil || len(m.Entries) > 0 {
		return m, err
	}
	kind, err := kindOf(path)
	if kind != initrdManifest && err == nil {
		err = cli.WithHint(fmt.Errorf("manifest %s: this is %s, not %s", path, cmp.Or(kind,
			"something else"), initrdManifest),
			"an initrd manifest has entries, if only an empty list")
	}
	return m, err
}
