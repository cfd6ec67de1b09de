package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// runtimeDirVariable names the directory of a user's session (XDG Base Directory Specification).
const runtimeDirVariable = "XDG_RUNTIME_DIR"

// sessionDir is where the user's session keeps what belongs in memory: what XDG_RUNTIME_DIR says,
// or the directory that logind makes, which su(1) and sudo(8) say nothing of. It is "" where there
// is none, as in a container.
func sessionDir(getenv func(string) string) (string, error) {
	dir := getenv(runtimeDirVariable)
	if dir == "" {
		if dir = fmt.Sprintf("/run/user/%d", os.Getuid()); isPrivate(dir) != nil {
			dir = ""
		}
		return dir, nil
	}
	if !path.IsAbs(dir) {
		return "", fmt.Errorf("%s: %q is not an absolute path", runtimeDirVariable, dir)
	}
	return strings.TrimRight(dir, "/"), nil
}

// memoryDir is what %r stands for: the directory of the session or, without one, a directory of
// our own in the shared memory of the machine. It is made if wanted.
func memoryDir(getenv func(string) string, wanted bool) (string, error) {
	dir, err := sessionDir(getenv)
	if dir != "" || err != nil {
		return dir, err
	}
	const shared = "/dev/shm"
	none := func(err error) error {
		return fmt.Errorf("there is no directory in memory for the paths with %%r: %s is not set, "+
			"/run/user/%d is not yours, and %w", runtimeDirVariable, os.Getuid(), err)
	}
	var fsStat unix.Statfs_t
	if err := unix.Statfs(shared, &fsStat); err != nil {
		return "", none(&fs.PathError{Op: "statfs", Path: shared, Err: err})
	}
	if kind := uint32(fsStat.Type); kind != hostfile.Tmpfs && kind != hostfile.RAMFS {
		return "", none(fmt.Errorf("%s is not a tmpfs", shared))
	}
	dir = fmt.Sprintf("%s/sops-nix-%d", shared, os.Getuid())
	if wanted {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", none(err)
		}
	}
	// Anybody can make it first.
	if err := isPrivate(dir); err != nil && (wanted || !errors.Is(err, fs.ErrNotExist)) {
		return "", none(err)
	}
	return dir, nil
}

// isPrivate says why a path is not a directory that is the user's alone.
func isPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of yours with mode 0700", dir)
	}
	return nil
}

// userManager returns the directory of the session in which the user's systemd runs, "" where none
// does: then no unit has old secrets.
func userManager(getenv func(string) string) string {
	dir, err := sessionDir(getenv)
	if err != nil || dir == "" || !exists(path.Join(dir, "systemd/private")) {
		return ""
	}
	return dir
}
