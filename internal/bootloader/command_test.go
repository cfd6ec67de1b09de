package bootloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// script writes a shell script.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// waitFor waits until a file is there.
func waitFor(t *testing.T, file string) {
	t.Helper()
	for range 500 {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s did not appear", file)
}

// over lets children that are still there write.
func over(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
}

// machine is a boot directory and a system with an appender that runs this script.
func machine(t *testing.T, appender string) (dir string, o Options) {
	t.Helper()
	dir = t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "boot"), 0o700)); err != nil {
		t.Fatal(err)
	}
	script(t, dir, "pkg/bin/append-initrd-secrets", appender)
	err := errors.Join(
		os.Mkdir(filepath.Join(dir, "sys"), 0o755),
		os.WriteFile(filepath.Join(dir, "sys/initrd"), []byte("070701"), 0o644),
		os.Symlink(filepath.Join(dir, "pkg/bin/append-initrd-secrets"), filepath.Join(dir, "sys/append-initrd-secrets")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir, Options{
		Kind: SystemdBoot, Boots: []string{filepath.Join(dir, "boot")}, Variables: filepath.Join(dir, "none"),
		Hook:   initrdsecrets.Options{State: filepath.Join(dir, "state"), Warn: func(text string, _ ...string) { t.Log(text) }},
		Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer),
	}
}

// installs is an installer that copies the initrd and writes an entry.
const installs = `cd "$(dirname "$0")"
mkdir -p boot/loader/entries
cp sys/initrd boot/base.img
printf 'title N\ninitrd /base.img\noptions init=%s/sys/init\n' "$PWD" > boot/loader/entries/nixos-1.conf
`

func entry(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "boot/loader/entries/nixos-1.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// After a signal the installer and its children end first, and nothing is written any more. The
// next run completes it.
func TestInstall_signal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, installer, appender string }{
		{"in the installer", installs + "trap 'touch cleaned; exit 1' TERM\n(while [ ! -e over ]; do sleep 0.02; done; touch late) &\ntouch started; wait", "echo secret >> \"$1\""},
		{"in the appender", installs, "cd \"$(dirname \"$0\")/../..\"\n[ -e again ] && { echo secret >> \"$1\"; exit; }\ntrap 'touch cleaned; exit 1' TERM\n(while [ ! -e over ]; do sleep 0.02; done; touch late) &\ntouch started; wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, o := machine(t, c.appender)
			o.Installer = []string{script(t, dir, "install", c.installer), filepath.Join(dir, "sys")}
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("told to stop")
			go func() {
				waitFor(t, filepath.Join(dir, "started"))
				cancel(stop)
			}()
			if err := Install(ctx, o); !errors.Is(err, stop) {
				t.Fatalf("%v, want that it was told to stop", err)
			}
			over(t, dir)
			if _, err := os.Stat(filepath.Join(dir, "late")); err == nil {
				t.Error("a child went on writing")
			}
			if _, err := os.Stat(filepath.Join(dir, "cleaned")); err != nil {
				t.Error("no time to clean up")
			}
			if e := entry(t, dir); !strings.Contains(e, "initrd /base.img\n") {
				t.Errorf("was written after the signal: %s", e)
			}
			if files, err := os.ReadDir(filepath.Join(dir, "boot", ownName)); err == nil && len(files) > 0 {
				t.Errorf("left %v", files)
			}
			script(t, dir, "again", "")
			o.Installer[0] = script(t, dir, "nothing", "exit 0") // an installer that writes entries once
			if err := Install(t.Context(), o); err != nil {
				t.Error(err)
			}
			if e := entry(t, dir); !strings.Contains(e, "initrd /sops-initrd/sys-initrd\n") {
				t.Errorf("was not completed: %s", e)
			}
			if _, err := os.Stat(filepath.Join(dir, "state", pendingName)); err == nil {
				t.Error("is still pending")
			}
		})
	}
}

// Who ignores SIGTERM is killed, with its children.
func TestStart_stubborn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := script(t, dir, "x", `cd "$(dirname "$0")"; trap '' TERM; (trap '' TERM; while [ ! -e over ]; do sleep 0.02; done; touch late) & touch started; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitFor(t, filepath.Join(dir, "started"))
		cancel()
	}()
	r := &run{temp: dir, grace: 300 * time.Millisecond}
	if err := r.start(ctx, exec.Command(file)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	over(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "late")); err == nil {
		t.Error("a child was not killed")
	}
}

// What installers and appenders put into TMPDIR is in memory, nobody else's to read, and gone in
// the end.
func TestInstall_temporaryFiles(t *testing.T) {
	t.Parallel()
	dir, o := machine(t, `cp "$1" "$TMPDIR/plaintext"; echo secret >> "$1"`)
	o.Installer = []string{script(t, dir, "install", installs+`echo plaintext > "$TMPDIR/archive"; stat -f -c %T "$TMPDIR"; stat -c '%a %n' "$TMPDIR"; exit 3`), filepath.Join(dir, "sys")}
	var out bytes.Buffer
	o.Stdout = &out
	var exit *ExitError
	if err := Install(t.Context(), o); !errors.As(err, &exit) || exit.Status != 3 {
		t.Fatal(err)
	}
	var kind, mode, name string
	if _, err := fmt.Sscan(out.String(), &kind, &mode, &name); err != nil || kind != "tmpfs" && memoryDir() != os.TempDir() || mode != "700" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stayed (%v)", name, err)
	}
}

// Directories of runs that were killed are removed; those of runs that live, and files of that
// name, are not.
func TestRemoveStaleTemps(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, name := range []string{tempPrefix + "dead", tempPrefix + "alive", "other"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	alive, err := os.Open(filepath.Join(parent, tempPrefix+"alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	err = errors.Join(
		unix.Flock(int(alive.Fd()), unix.LOCK_EX), os.Symlink(filepath.Join(parent, "other"), filepath.Join(parent, tempPrefix+"link")),
		os.WriteFile(filepath.Join(parent, tempPrefix+"file"), nil, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	removeStaleTemps(parent)
	for name, want := range map[string]bool{tempPrefix + "dead": false, tempPrefix + "alive": true, tempPrefix + "link": true, tempPrefix + "file": true, "other": true} {
		if _, err := os.Lstat(filepath.Join(parent, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
