package install

import (
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// directoryGroups are the groups that may list the secrets' directories; the first that exists is taken. NixOS has both.
var directoryGroups = [...]string{"keys", "nogroup"}

func (in Installer) config(m *manifest.Manifest, o Options) generation.Config {
	c := generation.Config{
		MountPoint: m.SecretsMountPoint, Link: m.SymlinkPath, Tmpfs: m.UseTmpfs, UserMode: m.UserMode,
		Grace: generation.ReadersGrace, Machine: in.System,
	}
	if !o.IgnorePasswd && !m.UserMode {
		c.Group = in.directoryGroup()
	}
	return c
}

// directoryGroup returns root's group where none of the wanted ones exists: then only root may list the directories, and
// everything can still be read by whom it belongs to.
func (in Installer) directoryGroup() int {
	for _, name := range directoryGroups {
		if gid, err := in.System.Group(name); err == nil {
			return gid
		}
	}
	cli.Warn(in.Env, Program, "neither group %q nor group %q exists: only root can list the directories of the secrets",
		directoryGroups[0], directoryGroups[1])
	return 0
}

// findOwners looks up the numbers of all owners and groups. Those that are not known are faults of their items.
func (in Installer) findOwners(p *plan) {
	user, group := cached(in.System.User), cached(in.System.Group)
	for _, it := range p.items {
		it.uid, it.gid = it.place.UID, it.place.GID
		var err error
		if it.place.Owner != "" {
			if it.uid, err = user(it.place.Owner); err != nil {
				p.fail(it, err)
			}
		}
		if it.place.Group != "" {
			if it.gid, err = group(it.place.Group); err != nil {
				p.fail(it, err)
			}
		}
	}
}

// cached asks once for every name.
func cached(lookup func(string) (int, error)) func(string) (int, error) {
	type answer struct {
		id  int
		err error
	}
	known := make(map[string]answer)
	return func(name string) (int, error) {
		a, ok := known[name]
		if !ok {
			a.id, a.err = lookup(name)
			known[name] = a
		}
		return a.id, a.err
	}
}
