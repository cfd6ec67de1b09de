package atomicfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := atomicfile.LockFile(t.Context(), path, func() { t.Error("the first one waits") })
	if err != nil {
		t.Fatal(err)
	}
	check(t, path, "", 0o600)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	waits := 0
	if _, err := atomicfile.LockFile(ctx, path, func() { waits++; cancel(stop) }); !errors.Is(err, stop) || waits != 1 {
		t.Errorf("%v after %d calls", err, waits)
	}
	time.AfterFunc(30*time.Millisecond, func() { _ = first.Close() })
	second, err := atomicfile.LockFile(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Remove(); err != nil || len(list(t, filepath.Dir(path))) != 0 {
		t.Errorf("left %q, %v", list(t, filepath.Dir(path)), err)
	}
}

// A run that is told to stop before it asks does not get the lock.
func TestLockFile_told_to_stop_before(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := atomicfile.LockFile(ctx, filepath.Join(t.TempDir(), "lock"), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// However many race to create the file, and to remove it, there is one holder at a time.
func TestLockFile_race(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var holders, most atomic.Int32
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			for i := range 25 {
				l, err := atomicfile.LockFile(t.Context(), path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), holders.Add(1)))
				holders.Add(-1)
				free := l.Close
				if i%2 == 0 {
					free = l.Remove
				}
				if err := free(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	runs.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held the lock at once", most.Load())
	}
}

// Whoever can open the file can hold it: such a file is not waited for but replaced.
func TestLockFile_open_to_others(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	write(t, path, "", 0o644)
	stranger, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := syscall.Flock(int(stranger.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := atomicfile.LockFile(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check(t, path, "", 0o600)
}

func TestLockFile_refuses(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(path string) error{
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link":      func(p string) error { return os.Symlink("elsewhere", p) },
		"stranger's": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Chown(p, 12, 12))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "stranger's" && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			path := filepath.Join(t.TempDir(), "lock")
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			if _, err := atomicfile.LockFile(t.Context(), path, nil); err == nil {
				t.Error("no error")
			}
			if names := list(t, filepath.Dir(path)); len(names) != 1 {
				t.Errorf("directory holds %q", names)
			}
		})
	}
}
