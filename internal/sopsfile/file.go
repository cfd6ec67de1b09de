package sopsfile

import (
	"errors"
	"fmt"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/pgp"

	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// File is an encrypted file, read but not decrypted.
type File struct {
	format manifest.Format
	traits
	store      sops.Store
	tree       sops.Tree
	recipients []Recipient
}

// Recipient is one of those for whom a file is encrypted.
type Recipient struct {
	// Group is the number of the key group, from 0. Files that need keys of several groups have more
	// than one.
	Group int `json:"group"`
	// Type is the word of sops for it: "age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault" or
	// "hckms".
	Type string `json:"type"`
	// ID is the age recipient, the OpenPGP fingerprint, or the name of the key of a service.
	ID string `json:"id"`

	key keys.MasterKey
}

// Open reads the file at path. The errors say what is wrong with the file, but not its path.
func Open(path string, format manifest.Format) (*File, error) {
	data, err := inputfile.Read(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, format)
}

// Parse reads the content of a file. The path is only told, never opened.
func Parse(path string, data []byte, format manifest.Format) (*File, error) {
	logging.SetLevel(0) // of logrus only panics: sops would print comments of the file
	f, err := load(data, format)
	if err == nil {
		f.tree.FilePath = path
		return f, nil
	}
	err = f.explain(data, err)
	for _, other := range manifest.Formats() {
		if other != format && works(data, other) {
			return nil, fmt.Errorf("%w; its format is %q, not %q", err, other, format)
		}
	}
	return nil, err
}

// works says whether a file can be read in a format, as far as that shows without a key.
func works(data []byte, format manifest.Format) bool {
	f, err := load(data, format)
	if err != nil {
		return false
	}
	sealed, err := f.Seal()
	return err == nil && sealed.Has("") == nil
}

func load(data []byte, format manifest.Format) (*File, error) {
	f := &File{format: format, traits: formats[format]}
	if f.traits.store == nil {
		return f, cause(fmt.Sprintf("unknown format %q", format))
	}
	f.store = f.traits.store(config.NewStoresConfig())
	if f.bound != nil {
		if err := f.bound(data); err != nil {
			return f, err
		}
	}
	err := guard(func() (err error) {
		if format == manifest.YAML {
			f.tree, err = loadYAML(data, f.store)
		} else {
			f.tree, err = f.store.LoadEncryptedFile(data)
		}
		if err == nil && f.tree.Metadata.MessageAuthenticationCode == "" {
			err = cause("the sops metadata have no message authentication code (mac): it was cut off, or changed without sops")
		}
		if err == nil {
			f.recipients = recipients(f.tree.Metadata)
		}
		return err
	})
	return f, err
}

// errPanic stands for a panic of the packages that read files: what they say may hold plaintext.
var errPanic = errors.New("malformed in a way that sops does not expect")

// guard turns a panic of f into an error.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	return f()
}

// Recipients are those for whom the file is encrypted, in the order of the file.
func (f *File) Recipients() []Recipient { return f.recipients }

func recipients(m sops.Metadata) []Recipient {
	var all []Recipient
	for i, group := range m.KeyGroups {
		for _, key := range group {
			all = append(all, Recipient{i, key.TypeToIdentifier(), key.ToString(), key})
		}
	}
	return all
}

// Groups is how many key groups the file has, and of how many a key is needed.
func (f *File) Groups() (count, needed int) {
	count, needed = len(f.tree.Metadata.KeyGroups), f.tree.Metadata.ShamirThreshold
	if count == 1 {
		return 1, 1
	}
	if needed == 0 { // sops takes all then, when it encrypts
		needed = count
	}
	return count, needed
}

// NeedsRemoteKey says whether keys on a host never suffice: in too many key groups there are only
// keys of clouds and vaults.
func (f *File) NeedsRemoteKey() bool {
	local := make(map[int]bool)
	for _, r := range f.Recipients() {
		if r.local() {
			local[r.Group] = true
		}
	}
	_, needed := f.Groups()
	return len(local) < needed
}

// local says whether the recipient's key can be on this host.
func (r Recipient) local() bool {
	return r.Type == age.KeyTypeIdentifier || r.Type == pgp.KeyTypeIdentifier
}
