package keyring

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// Bounds on what has the keys of a host: a mistaken path, or a program that prints without an end,
// must not fill the memory, nor the terminal.
const (
	maxKeyFileBytes = 1 << 20 // of a file, and of what a program prints; thousands of keys
	maxBadLines     = 10      // of a file are told one by one
)

// The variables of sops that name age keys (sops, docs, "Encrypting using age").
const (
	envAgeKey     = "SOPS_AGE_KEY"
	envAgeKeyFile = "SOPS_AGE_KEY_FILE"
	envAgeKeyCmd  = "SOPS_AGE_KEY_CMD"
	envSSHKeyFile = "SOPS_AGE_SSH_PRIVATE_KEY_FILE"
	envSSHKeyCmd  = "SOPS_AGE_SSH_PRIVATE_KEY_CMD"
	envRecipient  = "SOPS_AGE_RECIPIENT"
	envGPG        = "SOPS_GPG_EXEC"
	envGPGHome    = "GNUPGHOME"
)

func (r *Ring) addManifest(c Config) {
	for _, path := range c.Keys.AgeSSHKeyPaths {
		r.addSSHFile(path)
	}
	if c.Keys.AgeKeyFile != "" {
		r.addAgeFile(c.Keys.AgeKeyFile)
	}
	for _, path := range c.Keys.SSHKeyPaths {
		r.addSSHFile(path)
	}
}

func (r *Ring) addEnvironment(c Config) {
	if keys := c.Getenv(envAgeKey); keys != "" {
		r.addAgeKeys(envAgeKey, []byte(keys), true)
	}
	if path := c.Getenv(envAgeKeyFile); path != "" {
		r.addAgeFile(path)
	}
	if path := c.Getenv(envSSHKeyFile); path != "" {
		r.addSSHFile(path)
	}
	if line := c.Getenv(envAgeKeyCmd); line != "" {
		r.commands = append(r.commands, newCommand(envAgeKeyCmd, line, r.ageKeysOf))
	}
	if line := c.Getenv(envSSHKeyCmd); line != "" {
		r.commands = append(r.commands, newCommand(envSSHKeyCmd, line, r.sshKeyOf))
	}
}

// addHome adds the places below the home directory in which sops looks by itself. That nothing is
// there needs no word.
func (r *Ring) addHome(c Config) {
	home, config := c.Getenv("HOME"), c.Getenv("XDG_CONFIG_HOME")
	if config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	add := func(dir, path string, addFile func(string)) {
		path = filepath.Join(dir, path)
		if _, err := os.Stat(path); dir != "" && !errors.Is(err, fs.ErrNotExist) {
			addFile(path)
		}
	}
	add(config, "sops/age/keys.txt", r.addAgeFile)
	add(home, ".ssh/id_ed25519", r.addSSHFile)
	add(home, ".ssh/id_rsa", r.addSSHFile)
}

// readOnce reads a key file that was not read before.
func (r *Ring) readOnce(path string) ([]byte, bool) {
	if r.seen[path] {
		return nil, false
	}
	r.seen[path] = true
	data, err := inputfile.Read(path, maxKeyFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.skipAs(Skipped{Source: path, Reason: "does not exist", Absent: true})
	case errors.Is(err, fs.ErrPermission):
		r.skipAs(Skipped{Source: path, Reason: err.Error(), Cure: "run this as root"})
	case err != nil:
		r.skip(path, err.Error())
	}
	return data, err == nil
}

func (r *Ring) addSSHFile(path string) {
	if data, ok := r.readOnce(path); ok {
		r.addSSHKey(path, data)
	}
}

func (r *Ring) addSSHKey(source string, data []byte) {
	key, ages, err := parseSSHKey(source, data)
	if err != nil {
		s := Skipped{Source: source, Reason: err.Error()}
		if errors.Is(err, sshkey.ErrPassphrase) {
			s.Cure = "name a key without one, or take it away: ssh-keygen -p -N '' -f " + source
		}
		r.skipAs(s)
		return
	}
	r.memory = append(r.memory, ages...)
	if public := key.OpenPGPKey(); public != nil {
		r.pgp = append(r.pgp, pgpKey{source, public, key})
	}
	r.found(Identity{source, key.Type(), key.Recipients()})
}

// parseSSHKey reads an SSH private key and makes its age identities.
func parseSSHKey(source string, data []byte) (*sshkey.Private, []ageKey, error) {
	key, err := sshkey.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	identities, err := key.AgeIdentities()
	if err != nil {
		return nil, nil, err
	}
	var keys []ageKey
	for _, identity := range identities {
		keys = append(keys, ageKey{source, identity, key.Recipients()})
	}
	return key, keys, nil
}

func (r *Ring) addAgeFile(path string) {
	if data, ok := r.readOnce(path); ok {
		r.addAgeKeys(path, data, false)
	}
}

func (r *Ring) addAgeKeys(source string, data []byte, several bool) {
	memory, plugins := r.parseAgeKeys(source, data, several)
	r.memory, r.plugins = append(r.memory, memory...), append(r.plugins, plugins...)
}

// parseAgeKeys reads age identities, one a line, or several, as in a variable of sops. A line that
// is none does not spoil the others.
func (r *Ring) parseAgeKeys(source string, data []byte, several bool) (memory, plugins []ageKey) {
	if bytes.HasPrefix(data, []byte("age-encryption.org/")) || bytes.HasPrefix(data, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		r.skipAs(Skipped{
			Source: source, Reason: "the key file has a passphrase", Cure: "name a file without one: age -d " + source + " decrypts it",
		})
		return nil, nil
	}
	if bytes.HasPrefix(data, []byte("-----BEGIN ")) {
		r.skip(source, "not a file of age keys (SSH keys belong into ageSshKeyPaths)")
		return nil, nil
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxKeyFileBytes+1)
	n, bad := 0, 0
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := []string{line}
		if several {
			words = strings.Fields(line)
		}
		for _, word := range words {
			n++
			identity, described, err := parseAgeKey(word)
			if err != nil {
				if bad++; bad <= maxBadLines {
					r.skip(source, fmt.Sprintf("line %d: %v", number, err))
				}
				continue
			}
			described.Source = source
			r.found(described)
			if _, ok := identity.(*plugin.Identity); ok {
				plugins = append(plugins, ageKey{source, identity, described.Recipients})
			} else {
				memory = append(memory, ageKey{source, identity, described.Recipients})
			}
		}
	}
	if bad > maxBadLines {
		r.skip(source, fmt.Sprintf("%d more lines are no keys", bad-maxBadLines))
	}
	if n == 0 {
		r.skip(source, "there is no key in it")
	}
	return memory, plugins
}

// parseAgeKey reads one age identity. The errors of package age are replaced because some quote
// what they read.
func parseAgeKey(line string) (age.Identity, Identity, error) {
	switch {
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err := age.ParseHybridIdentity(line)
		if err != nil {
			return nil, Identity{}, errors.New("malformed age post-quantum key")
		}
		return id, Identity{Type: "age post-quantum", Recipients: []string{id.Recipient().String()}}, nil
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err := age.ParseX25519Identity(line)
		if err != nil {
			return nil, Identity{}, errors.New("malformed age key")
		}
		return id, Identity{Type: "age", Recipients: []string{id.Recipient().String()}}, nil
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		// Without a user there is nobody to ask: the plugin is told so, and answers with what it can do
		// alone.
		id, err := plugin.NewIdentity(line, &plugin.ClientUI{})
		if err != nil {
			return nil, Identity{}, errors.New("malformed key of an age plugin")
		}
		return id, Identity{Type: "age plugin " + id.Name()}, nil
	case strings.HasPrefix(line, "age1"):
		return nil, Identity{}, errors.New("a public key, not a private one")
	}
	return nil, Identity{}, errors.New("not an age key")
}
