package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/progress"
)

// lockPoll is how often a lock that is taken is tried again: flock(2) can wait by itself, but not
// end at a signal.
const lockPoll = 20 * time.Millisecond

// Lock is a lock file that this process holds. It ends with Close, or with the process.
type Lock struct{ file *os.File }

// Close gives the lock back. The file stays.
func (l *Lock) Close() error { return l.file.Close() }

// Remove gives the lock back and removes its file.
func (l *Lock) Remove() error { return errors.Join(os.Remove(l.file.Name()), l.file.Close()) }

// LockFile creates the file path, with mode 0600, where it is missing, and waits until no other
// process holds it. While it has to wait it calls waiting once, if that is not nil. The wait ends
// with ctx, whose cause is in the error.
//
// Whoever can open a file for reading can lock it. So the file must belong to the caller and be
// closed to all others; one that is open to others is replaced, whoever holds it.
func LockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	for {
		file, err := openLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := flock(ctx, file, waiting); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", path, err), file.Close())
		}
		waiting = nil
		// Who held it before may have removed it.
		ours, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, ours) {
			return &Lock{file}, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

func openLock(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		info, err := statFile(file)
		switch {
		case err != nil:
		case !info.Mode.IsRegular():
			err = fmt.Errorf("%s: is not a regular file", path)
		case int64(info.UID) != int64(os.Geteuid()):
			err = fmt.Errorf("%s: belongs to user %d", path, info.UID)
		case info.Mode.Perm()&0o077 == 0:
			if err = file.Chmod(0o600); err == nil { // whatever the umask was
				return file, nil
			}
		default:
			if err = os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = file.Close()
				if err == nil {
					continue
				}
			}
		}
		return nil, errors.Join(err, file.Close())
	}
}

func flock(ctx context.Context, file *os.File, waiting func()) error {
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := tryLock(file)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		if first {
			if waiting != nil {
				waiting()
			}
			defer progress.Step(ctx, "waiting for another run to end"+holder(file))()
		}
		select {
		case <-ctx.Done():
		case <-time.After(lockPoll):
		}
	}
}

// holder says which process holds the lock of a file, where the kernel tells.
func holder(file *os.File) string {
	info, err := statFile(file)
	if err != nil {
		return ""
	}
	locks, _ := os.ReadFile("/proc/locks") // there is none on other systems
	return holderIn(string(locks), info)
}

// holderIn looks for a file in a table of locks (proc_locks(5)). A file of another file system may
// have the same number, and people end the process that they read here: the device must fit, too.
func holderIn(locks string, info Info) string {
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(info.Dev), unix.Minor(info.Dev), info.Ino)
	for line := range strings.Lines(locks) {
		// 1: FLOCK  ADVISORY  WRITE 4711 fd:00:12345 0 EOF
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == id {
			return " (process " + fields[4] + ")"
		}
	}
	return ""
}

func tryLock(file *os.File) error {
	err := retry(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// LockDir waits until no other run of this user works in the directory that info describes. The
// lock file does not lie in the directory: on vfat, files there may be open to all, and a run
// that changes nothing writes nothing there.
func LockDir(ctx context.Context, info Info) (*Lock, error) {
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	name := strconv.FormatUint(info.Dev, 16) + "-" + strconv.FormatUint(info.Ino, 16) + ".lock"
	return LockFile(ctx, filepath.Join(dir, name), nil)
}

// lockDir makes the directory for the locks of LockDir, which only this user can enter.
func lockDir() (string, error) {
	uid := os.Geteuid()
	dir := "/run/sops-initrd"
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); uid != 0 && filepath.IsAbs(runtime) {
		dir = filepath.Join(runtime, "sops-initrd")
	} else if uid != 0 {
		dir = "/tmp/sops-initrd-" + strconv.Itoa(uid)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("directory for lock files: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("directory for lock files: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if at := info(&st); !at.Mode.IsDir() || int64(at.UID) != int64(uid) || at.Mode.Perm()&0o077 != 0 {
		return "", fmt.Errorf("directory for lock files %s: must be a directory of user %d with mode 0700; remove it", dir, uid)
	}
	return dir, nil
}
