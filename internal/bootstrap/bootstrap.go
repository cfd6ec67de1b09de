package bootstrap

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// SSHKey is the name, in the sops file and in the configuration, of the secret that is the SSH
// host key.
const SSHKey = "initrd-ssh-key"

// keyFileBytes is the entropy of a LUKS key file: as much as the volume key of the usual
// aes-xts-plain64 has.
const keyFileBytes = 64

// Request says what is wanted.
type Request struct {
	File string // sops file to make; its extension decides the format
	// of the host, as users of ssh know it; empty: the name of File without its extension
	Name    string
	HostKey string // file with the host's public SSH key, or a recipient; see findHost
	Port    int    // of the SSH server in the initrd
	LUKS    string // name of the LUKS device in boot.initrd.luks.devices; empty: no key file
	Replace bool   // secrets that are in File already

	Warn func(text string)
}

// Result is what there is to tell afterwards. It holds nothing secret.
type Result struct {
	File        string               `json:"file"`
	Recipients  []sopsfile.Recipient `json:"recipients"`
	PublicKey   string               `json:"publicKey"`   // of the SSH server in the initrd
	Fingerprint string               `json:"fingerprint"` // of PublicKey
	KnownHosts  string               `json:"knownHosts"`  // line for known_hosts
	Nix         string               `json:"nix"`         // module to import
	// Enroll is the command that adds the key file to the LUKS device, once the module is active.
	Enroll string `json:"enroll,omitempty"`
}

var (
	// hostName allows host names and addresses, and nothing that has a meaning in known_hosts.
	hostName = pattern.New(`^[A-Za-z0-9_]([A-Za-z0-9._:-]*[A-Za-z0-9_])?$`)
	// deviceName is what needs no quoting in Nix and in sops' --extract.
	deviceName = pattern.New(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// format is the format of a file by its name: one that has keys and keeps line breaks.
func format(file string) (manifest.Format, error) {
	if f := manifest.FormatOf(file); f == manifest.YAML || f == manifest.JSON {
		return f, nil
	}
	return "", fmt.Errorf("%s: the name ends neither in .yaml nor in .json", file)
}

// Check says what is wrong with the request itself, and fills in the name.
func (r *Request) Check() error {
	_, err := format(r.File)
	faults := []error{err}
	if r.Name == "" {
		base := filepath.Base(r.File)
		r.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	if !hostName().MatchString(r.Name) {
		faults = append(faults, fmt.Errorf("%q is not the name of a host", r.Name))
	}
	if r.Port < 1 || r.Port > 65535 {
		faults = append(faults, fmt.Errorf("port %d is not between 1 and 65535", r.Port))
	}
	if r.LUKS != "" && !deviceName().MatchString(r.LUKS) {
		faults = append(faults, fmt.Errorf("%q is not the name of a LUKS device: letters, digits, "+
			"hyphens and underscores", r.LUKS))
	}
	return errors.Join(faults...)
}

// Run creates the secrets and the file, or puts them into a sops file that is there. The file
// appears, whole, as the last step; after an error all is as it was.
func Run(ctx context.Context, r Request) (*Result, error) {
	f, err := format(r.File)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(r.File)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s: this is a symbolic link; name the file itself", r.File)
	}
	host, err := findHost(r.HostKey)
	if err != nil {
		return nil, err
	}
	private, public, err := sshkey.Generate("root@" + r.Name + " initrd")
	if err != nil {
		return nil, err
	}
	secrets := map[string]string{SSHKey: string(private)}
	if r.LUKS != "" {
		key := make([]byte, keyFileBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make a key file: %w", err)
		}
		secrets[luksSecret(r.LUKS)] = base64.RawStdEncoding.EncodeToString(key)
	}
	e := encryption{Request: r, format: f, host: host}
	if info != nil {
		recipients, err := e.into(ctx, info, secrets)
		if err != nil {
			return nil, err
		}
		return r.result(public, recipients), nil
	}
	data, recipients, err := e.run(ctx, secrets)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(r.File),
		0o755); err != nil { //nolint:gosec // the file is encrypted, and the repository's
		return nil, err
	}
	if err := atomicfile.WriteNew(r.File, data, 0o644); err != nil { //nolint:gosec // as above
		return nil, err
	}
	return r.result(public, recipients), nil
}

// plaintext is the input for sops. JSON has a form for every string, so that nothing has to be
// escaped by hand.
func plaintext(secrets map[string]string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(secrets)
	return out.Bytes(), err
}

func luksSecret(device string) string { return "luks-" + device }
