package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/user"
	"strconv"

	"github.com/sops-initrd/sops-initrd/internal/generation"
)

// System is everything of the machine that an activation touches and an ordinary user cannot: tests have one of their own.
type System interface {
	generation.Machine
	// User and Group look up the number of a name.
	User(name string) (int, error)
	Group(name string) (int, error)
	// Systemctl runs systemctl with the given arguments.
	Systemctl(ctx context.Context, args ...string) error
}

// Linux is the real System.
type Linux struct {
	generation.Linux
	// Output is where systemctl writes to.
	Output io.Writer
}

// User implements System.
func (Linux) User(name string) (int, error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return 0, fmt.Errorf("unknown user %q", name)
	}
	if err != nil {
		return 0, fmt.Errorf("look up user %q: %w", name, err)
	}
	return strconv.Atoi(u.Uid)
}

// Group implements System.
func (Linux) Group(name string) (int, error) {
	g, err := user.LookupGroup(name)
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) {
		return 0, fmt.Errorf("unknown group %q", name)
	}
	if err != nil {
		return 0, fmt.Errorf("look up group %q: %w", name, err)
	}
	return strconv.Atoi(g.Gid)
}

// Systemctl implements System.
func (l Linux) Systemctl(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "systemctl", args...)
	c.Stdout, c.Stderr = l.Output, l.Output
	return c.Run()
}
