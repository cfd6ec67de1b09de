package install

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/sops-initrd/sops-initrd/internal/generation"
)

// System is everything of the machine that an activation touches and an ordinary user cannot:
// tests have one of their own.
type System interface {
	generation.Machine
	// User and Group look up the number of a name.
	User(ctx context.Context, name string) (uint32, error)
	Group(ctx context.Context, name string) (uint32, error)
	// CanOwn says why no file can belong to a user and group.
	CanOwn(uid, gid uint32) error
	// Systemctl runs systemctl with the given arguments. A user's systemd is found in the user's
	// runtimeDir; otherwise that is "".
	Systemctl(ctx context.Context, runtimeDir string, args ...string) error
}

// Linux is the real System.
type Linux struct {
	generation.Linux
	// Output is where systemctl writes to.
	Output io.Writer

	users, groups accounts
	uids, gids    idMap
}

// NewLinux returns the machine that the program runs on.
func NewLinux(output io.Writer) *Linux {
	return &Linux{
		Output: output,
		users:  accounts{kind: "user", file: "/etc/passwd", database: "passwd"},
		groups: accounts{kind: "group", file: "/etc/group", database: "group"},
		uids:   idMap{kind: "user", file: "/proc/self/uid_map"},
		gids:   idMap{kind: "group", file: "/proc/self/gid_map"},
	}
}

// User implements System.
func (l *Linux) User(ctx context.Context, name string) (uint32, error) {
	return l.users.lookUp(ctx, name)
}

// Group implements System.
func (l *Linux) Group(ctx context.Context, name string) (uint32, error) {
	return l.groups.lookUp(ctx, name)
}

// CanOwn implements System.
func (l *Linux) CanOwn(uid, gid uint32) error { return errors.Join(l.uids.has(uid), l.gids.has(gid)) }

// Systemctl implements System.
func (l *Linux) Systemctl(ctx context.Context, runtimeDir string, args ...string) error {
	c := exec.CommandContext(ctx, "systemctl", args...)
	if runtimeDir != "" {
		c.Env = append(os.Environ(), runtimeDirVariable+"="+runtimeDir)
	}
	c.Stdout, c.Stderr = l.Output, l.Output
	return c.Run()
}
