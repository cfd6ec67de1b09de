package install

import (
	"context"
	"errors"
	"path"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// directoryGroups are the groups that may list the secrets' directories; the first that exists is
// taken. NixOS has both.
var directoryGroups = [...]string{"keys", "nogroup"}

func (in Installer) config(ctx context.Context, m *manifest.Manifest, o Options) generation.Config {
	c := generation.Config{
		MountPoint: m.SecretsMountPoint, Link: m.SymlinkPath,
		Tmpfs: m.UseTmpfs, UserMode: m.UserMode, Machine: in.System,
		// Of what stage 1 makes, only what is in /run is left in the running system.
		Stage1: !m.UserMode && below(path.Dir(in.ActivationDir), m.SymlinkPath),
	}
	if !o.IgnorePasswd && !m.UserMode {
		c.Group = in.directoryGroup(ctx)
	}
	return c
}

// directoryGroup returns root's group where none of the wanted ones can be taken: then only root
// may list the directories, and everything can still be read by whom it belongs to.
func (in Installer) directoryGroup(ctx context.Context) uint32 {
	for _, name := range directoryGroups {
		if gid, err := in.System.Group(ctx, name); err == nil && in.System.CanOwn(0, gid) == nil {
			return gid
		}
	}
	const text = "neither group %q nor group %q exists: only root can list the directories of the secrets"
	cli.Warn(in.Env, Program, text, directoryGroups[0], directoryGroups[1])
	return 0
}

// findOwners looks up the numbers of all owners and groups. Those that are not known, or that no
// file can belong to, are faults of their items.
func (in Installer) findOwners(ctx context.Context, p *plan) {
	user, group := cached(ctx, in.System.User), cached(ctx, in.System.Group)
	for _, it := range p.items {
		it.uid, it.gid = it.place.UID, it.place.GID
		var errs []error
		if it.place.Owner != "" {
			var err error
			it.uid, err = user(it.place.Owner)
			errs = append(errs, err)
		}
		if it.place.Group != "" {
			var err error
			it.gid, err = group(it.place.Group)
			errs = append(errs, err)
		}
		if errors.Join(errs...) == nil {
			errs = []error{in.System.CanOwn(it.uid, it.gid)}
		}
		for _, err := range errs {
			if err != nil {
				p.fail(it, err)
			}
		}
	}
}

// cached asks once for every name.
func cached(
	ctx context.Context, lookup func(context.Context, string) (uint32, error),
) func(string) (uint32, error) {
	type answer struct {
		id  uint32
		err error
	}
	known := make(map[string]answer)
	return func(name string) (uint32, error) {
		a, ok := known[name]
		if !ok {
			a.id, a.err = lookup(ctx, name)
			known[name] = a
		}
		return a.id, a.err
	}
}
