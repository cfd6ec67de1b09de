package manifest

import "strings"

// ExpandRuntimeDir replaces %r in the paths of a user's manifest by the directory that find
// returns, and %% by %. Where no path has %r, find is not called.
func (m *Manifest) ExpandRuntimeDir(find func() (string, error)) error {
	if !m.UserMode {
		return nil
	}
	e := expander{find: find}
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
	find func() (string, error)
	dir  string
	err  error
}

func (e *expander) expand(p *string) {
	parts := strings.Split(*p, "%%")
	for i, part := range parts {
		if !strings.Contains(part, "%r") {
			continue
		}
		if e.dir == "" && e.err == nil {
			e.dir, e.err = e.find()
		}
		parts[i] = strings.ReplaceAll(part, "%r", e.dir)
	}
	*p = strings.Join(parts, "%")
}
