package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Machine is what a Store needs beyond reading and writing files below its own directories.
type Machine interface {
	// Mount makes sure that dir, which exists, is the root of a ramfs, or of a tmpfs when tmpfs
	// is true. Where it mounts a new one, fill is called with the root of it before anybody can
	// see it.
	Mount(dir string, tmpfs bool, fill func(root *os.Root) error) error
	// Chown sets the owner of what f is open on, which may be a symbolic link opened with O_PATH.
	Chown(f *os.File, uid, gid uint32) error
	// Step is told of every change before it is made. An error is taken for the failure of that
	// change: a seam for tests of what is left when things go wrong.
	Step(op, path string) error
}

// Linux is the real Machine.
type Linux struct{}

// Step lets everything pass.
func (Linux) Step(string, string) error { return nil }

// Chown implements Machine. Chown of an O_PATH descriptor needs the empty path (open(2), O_PATH).
func (Linux) Chown(f *os.File, uid, gid uint32) error {
	return unix.Fchownat(int(f.Fd()), "", int(uid), int(gid), unix.AT_EMPTY_PATH)
}

// Flags of the secrets file system: no devices, no set-user-ID, no programs.
const (
	mountAttrs = unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mountFlags = unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
)

// Mount implements Machine. The file system is built detached and attached when it is filled, so
// that it is never seen empty or with the wrong mode. Where that is not possible (Linux before
// 5.2, or a container that forbids the calls), it is mounted first and filled then.
func (Linux) Mount(dir string, tmpfs bool, fill func(*os.Root) error) error {
	name, magic := "ramfs", int64(hostfile.RAMFS)
	if tmpfs {
		name, magic = "tmpfs", hostfile.Tmpfs
	}
	dir, err := filepath.EvalSymlinks(dir) // move_mount(2) does not follow links
	if err != nil {
		return err
	}
	if mounted, err := isMounted(dir, magic); err != nil || mounted {
		return err
	}
	fd, err := detached(name)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return mountThenFill(dir, name, fill)
	}
	if err != nil {
		return fmt.Errorf("make a %s: %w", name, err)
	}
	defer unix.Close(fd)
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := fill(root); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s at %s: %w", name, dir, err)
	}
	return nil
}

// isMounted says whether a file system of the given type is mounted at dir.
func isMounted(dir string, magic int64) (bool, error) {
	var fsStat unix.Statfs_t
	if err := unix.Statfs(dir, &fsStat); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	var here, parent unix.Stat_t
	if err := unix.Stat(dir, &here); err != nil {
		return false, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := unix.Stat(filepath.Dir(dir), &parent); err != nil {
		return false, &fs.PathError{Op: "stat", Path: filepath.Dir(dir), Err: err}
	}
	// The low 32 bits: the kernel's magic numbers are unsigned, the field is signed on some
	// architectures.
	return here.Dev != parent.Dev && uint32(fsStat.Type) == uint32(magic), nil
}

// detached makes a file system that is not mounted anywhere yet and returns a descriptor of its
// mount.
func detached(name string) (int, error) {
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "source", "none"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetString(fd, "mode", "0751"); err != nil {
		return -1, err
	}
	if name == "tmpfs" {
		// Linux before 6.4 does not know noswap and says EINVAL. There a tmpfs without it is what
		// was asked for: the option's description in the module says what it means.
		if err := unix.FsconfigSetFlag(fd, "noswap"); err != nil && !errors.Is(err, unix.EINVAL) {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, mountAttrs)
}

func mountThenFill(dir, name string, fill func(*os.Root) error) error {
	options := "mode=0751"
	var err error
	if name == "tmpfs" {
		err = unix.Mount("none", dir, name, mountFlags, options+",noswap")
	}
	if name != "tmpfs" || errors.Is(err, unix.EINVAL) {
		err = unix.Mount("none", dir, name, mountFlags, options)
	}
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", name, dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	defer root.Close()
	if err := fill(root); err != nil { // what it covers is whole, this is not
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	return nil
}
