package bootloader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// termGrace is how long programs have to clean up after SIGTERM. systemd gives a service 90 s.
const termGrace = 10 * time.Second

const termPoll = 20 * time.Millisecond

// runInstaller runs the stock installer, with the terminal if it is on one.
func (r *run) runInstaller(ctx context.Context) error {
	cmd := exec.Command(r.Installer[0], r.Installer[1:]...) //nolint:gosec // what the command is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, r.Stdout, r.Stderr
	err := r.start(ctx, cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &ExitError{exit.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("run the installer: %w", err)
	}
	return nil
}

func (r *run) runAppender(ctx context.Context, s System, image string) error {
	if err := trusted(s.Appender); err != nil {
		return err
	}
	cmd := exec.Command(s.Appender, image) //nolint:gosec // the program that the system names
	cmd.Stderr = r.Stderr
	if err := r.start(ctx, cmd); err != nil {
		return fmt.Errorf("its initrd secrets could not be made: %w", err)
	}
	return nil
}

// start runs a program in a process group of its own and waits for it. When ctx ends, the group
// gets SIGTERM and time to clean up, then SIGKILL: none of it goes on writing after this has
// returned.
func (r *run) start(ctx context.Context, cmd *exec.Cmd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+r.temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	defer lendTerminal(cmd)()
	if err := cmd.Start(); err != nil {
		return err
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have ended meanwhile
	limit := time.After(r.grace)
	for waiting, tick := true, time.NewTicker(termPoll); waiting; {
		select {
		case <-tick.C:
			waiting = syscall.Kill(group, 0) == nil // its children count, too
		case <-limit:
			waiting = false
		}
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	return errors.Join(context.Cause(ctx), <-ended)
}

// lendTerminal lets a program read from the terminal that we are in the foreground of: its group
// would be stopped otherwise. The result takes the terminal back.
func lendTerminal(cmd *exec.Cmd) func() {
	in, ok := cmd.Stdin.(*os.File)
	if !ok {
		return func() {}
	}
	fd, own := int(in.Fd()), unix.Getpgrp()
	if now, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || now != own {
		return func() {}
	}
	cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, fd
	return func() {
		signal.Ignore(unix.SIGTTOU) // in the background, the next call would stop us
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, own)
	}
}

// memoryDir is a directory in memory that this user can write to, or the usual one where none is.
func memoryDir() string {
	for _, dir := range []string{"/run", "/dev/shm"} {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		kind := uint32(st.Type) // signed, and of another size, on some architectures
		if err != nil || kind != hostfile.Tmpfs && kind != hostfile.RAMFS {
			continue
		}
		if unix.Access(dir, unix.W_OK|unix.X_OK) == nil {
			return dir
		}
	}
	return os.TempDir()
}

const tempPrefix = "sops-initrd-loader-"

// privateTemp makes a directory for the temporary files of installers and appenders, which may
// have plaintext: in memory where that is possible, and removed in the end. Those of runs that
// were killed are removed as well.
func privateTemp() (dir string, remove func() error, err error) {
	parent := memoryDir()
	removeStaleTemps(parent)
	dir, err = os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Open(dir)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// removeStaleTemps removes such directories of this user that no run has locked.
func removeStaleTemps(parent string) {
	found, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, f := range found {
		if !f.IsDir() || !strings.HasPrefix(f.Name(), tempPrefix) {
			continue
		}
		const flags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_DIRECTORY
		dir, err := os.OpenFile(filepath.Join(parent, f.Name()), flags, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(int(dir.Fd()), &st) == nil && int(st.Uid) == os.Geteuid() &&
			unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir.Name()) // the next run tries again
		}
		_ = dir.Close() // only read from
	}
}
