package manifest

import (
	"io/fs"
	"slices"
)

// KeySources says where the keys of this host are. All of them may be empty.
type KeySources struct {
	// SSHKeyPaths are SSH RSA private keys that are used as OpenPGP keys.
	SSHKeyPaths []string `json:"sshKeyPaths"`
	// GnuPGHome is a GnuPG home directory whose keys are used through the gpg program.
	GnuPGHome string `json:"gnupgHome"`
	// AgeKeyFile is a file of age identities, one a line, as age-keygen writes it.
	AgeKeyFile string `json:"ageKeyFile"`
	// AgeSSHKeyPaths are SSH private keys that are used as age identities.
	AgeSSHKeyPaths []string `json:"ageSshKeyPaths"`
	// KeyTimeout is how many seconds one program that has a key (gpg, a plugin of age) or one key
	// service is waited for; 0 means the default.
	KeyTimeout int64 `json:"keyTimeout"`
}

// Paths are the files and directories that the sources are in.
func (k KeySources) Paths() []string {
	paths := slices.Concat(k.SSHKeyPaths, k.AgeSSHKeyPaths, []string{k.GnuPGHome, k.AgeKeyFile})
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" })
}

// Source says where a secret's value comes from.
type Source struct {
	Name     string
	SopsFile string
	Format   Format
	// Key selects a value of the file, nested keys separated by slashes. The empty key means the
	// whole file.
	Key string
}

// Text is a template: its text, or, where that is empty, the file that has it, as in the reference.
type Text struct {
	Name    string
	Content string
	File    string
}

// Placement says where a secret or a rendered template goes at activation, to whom it belongs,
// and which units use it.
type Placement struct {
	// Path is where the user expects it. Another place than the one below the secrets directory
	// becomes a symbolic link.
	Path string
	// Mode has permission bits only, with set-user-ID, set-group-ID and sticky as in fs.FileMode.
	Mode fs.FileMode
	// Owner and Group are names; where they are empty, UID and GID count.
	Owner, Group string
	UID, GID     uint32
	RestartUnits []string
	ReloadUnits  []string
}

// Secret is a value of a sops file that is installed at activation.
type Secret struct {
	Source
	Placement
}

// Template is a text with placeholders that is rendered and installed at activation.
type Template struct {
	Text
	Placement
}

// Logging switches kinds of messages on.
type Logging struct {
	KeyImport     bool `json:"keyImport"`
	SecretChanges bool `json:"secretChanges"`
}

// Manifest is a checked manifest of activation.
type Manifest struct {
	// Version is 0 for a manifest of the reference, 1 for one of this project's module.
	Version int
	Keys    KeySources
	// Secrets and Templates are in the order of the document.
	Secrets   []Secret
	Templates []Template
	// Placeholders has, by a secret's name, the text that stands for its value in templates.
	Placeholders map[string]string
	// SecretsMountPoint is where the secrets file system with its numbered generations is
	// mounted. In user mode it may begin with %r, which stands for XDG_RUNTIME_DIR.
	SecretsMountPoint string
	// SymlinkPath is the link that points to the current generation.
	SymlinkPath string
	// KeepGenerations is how many generations are kept, the current one included; 0 keeps all.
	KeepGenerations int
	// UseTmpfs takes a tmpfs for the secrets file system instead of a ramfs.
	UseTmpfs bool
	// UserMode installs for an ordinary user: no mount, no owners.
	UserMode bool
	// GenerateAgeKey creates the age key file of Keys where there is none.
	GenerateAgeKey bool
	Logging        Logging
}

// Entry is something that goes into the initrd. Exactly one of Secret, Template and Source is set.
type Entry struct {
	// Prefix and Path make the place in the image: absolute, clean paths.
	Prefix, Path string
	// Secret and Template are names of the manifest's secrets and templates; Source is a path on
	// this host.
	Secret, Template, Source string
	// Mode holds permission bits. It is nil where the document has none: 0400 for secrets and
	// templates, the mode of the file for a source.
	Mode     *fs.FileMode
	UID, GID uint32
	// Seal says how the entry is protected on the boot partition.
	Seal Seal
	// Credential is the name of the systemd credential that the entry is, instead of a file. Path is
	// "" then.
	Credential string
}

// Initrd is a checked manifest of an initrd.
type Initrd struct {
	Version      int
	Keys         KeySources
	Secrets      []Source
	Templates    []Text
	Placeholders map[string]string
	Entries      []Entry
	// Sealing is set where an entry is sealed.
	Sealing Sealing
	// StageOne is nil where the document says nothing of it.
	StageOne *StageOne
}
