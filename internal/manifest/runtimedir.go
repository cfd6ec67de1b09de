package manifest

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ExpandRuntimeDir replaces %r in the paths of a user's manifest by XDG_RUNTIME_DIR, and %% by %.
func (m *Manifest) ExpandRuntimeDir(getenv func(string) string) error {
	if !m.UserMode {
		return nil
	}
	e := expander{dir: getenv("XDG_RUNTIME_DIR")}
	for _, p := range []*string{&m.SecretsMountPoint, &m.SymlinkPath, &m.Keys.GnuPGHome, &m.Keys.AgeKeyFile} {
		e.expand(p)
	}
	for i := range m.Keys.SSHKeyPaths {
		e.expand(&m.Keys.SSHKeyPaths[i])
	}
	for i := range m.Keys.AgeSSHKeyPaths {
		e.expand(&m.Keys.AgeSSHKeyPaths[i])
	}
	for i := range m.Secrets {
		e.expand(&m.Secrets[i].Path)
	}
	for i := range m.Templates {
		e.expand(&m.Templates[i].Path)
	}
	return e.err
}

type expander struct {
	dir string
	err error
}

func (e *expander) expand(p *string) {
	parts := strings.Split(*p, "%%")
	for i, part := range parts {
		if !strings.Contains(part, "%r") {
			continue
		}
		switch {
		case e.dir == "":
			e.err = errors.New("XDG_RUNTIME_DIR is not set, but the manifest has paths below it (%r)")
		case !path.IsAbs(e.dir):
			e.err = fmt.Errorf("XDG_RUNTIME_DIR: %q is not an absolute path", e.dir)
		}
		parts[i] = strings.ReplaceAll(part, "%r", strings.TrimRight(e.dir, "/"))
	}
	*p = strings.Join(parts, "%")
}
