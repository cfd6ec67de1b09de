package generation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/test/testns"
)

// mountsAt lists the type and options of the mounts at dir, the topmost last.
func mountsAt(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line) // proc_pid_mountinfo(5): the fifth is the place, the type follows a hyphen
		if _, rest, _ := strings.Cut(line, " - "); fields[4] == dir {
			found = append(found, strings.Fields(rest)[0]+" "+fields[5]+" "+strings.Fields(rest)[2])
		}
	}
	return found
}

func TestMount(t *testing.T) {
	t.Parallel()
	for _, tmpfs := range []bool{false, true} {
		name := "ramfs"
		if tmpfs {
			name = "tmpfs"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !testns.Inside(t) {
				return
			}
			c := config("/run", Linux{})
			c.Tmpfs = tmpfs
			for range 3 {
				if err := install(c, 1, oldFiles); err != nil {
					t.Fatal(err)
				}
			}
			mounts := mountsAt(t, "/run/secrets.d")
			if len(mounts) != 1 || !strings.HasPrefix(mounts[0], name+" rw,nosuid,nodev,noexec") {
				t.Errorf("mounts: %q", mounts)
			}
			if tmpfs && !strings.Contains(mounts[0], "noswap") && kernelHasNoswap(t) {
				t.Errorf("may be swapped out: %q", mounts)
			}
			info, err := os.Stat("/run/secrets.d")
			if err != nil || info.Mode().Perm() != dirMode {
				t.Error(err, info.Mode())
			}
		})
	}
}

func kernelHasNoswap(t *testing.T) bool {
	t.Helper()
	if err := unix.Mount("none", "/mnt", "tmpfs", 0, "noswap"); err != nil {
		return false
	}
	return unix.Unmount("/mnt", 0) == nil
}

// TestMount_otherType: a file system of the wrong type is covered. Readers find the live
// generation all the time, and nothing stays in what is covered.
func TestMount_otherType(t *testing.T) {
	t.Parallel()
	if !testns.Inside(t) {
		return
	}
	c := config("/run", Linux{})
	c.Tmpfs = true
	if err := install(c, 1, oldFiles); err != nil {
		t.Fatal(err)
	}
	under, err := os.OpenRoot("/run/secrets.d")
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()

	c.Tmpfs = false
	c.Machine = &lookAtMount{t: t, c: c}
	if err := install(c, 1, newFiles); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newFiles, live(t, c)); diff != "" {
		t.Error(diff)
	}
	if mounts := mountsAt(t, "/run/secrets.d"); len(mounts) != 2 || !strings.HasPrefix(mounts[1], "ramfs") {
		t.Errorf("mounts: %q", mounts)
	}
	if target, _ := os.Readlink("/run/secrets"); target != "/run/secrets.d/2" {
		t.Errorf("the link leads to %s", target)
	}
	if left, err := under.Open("."); err != nil {
		t.Error(err)
	} else if names, _ := left.Readdirnames(-1); len(names) != 0 {
		t.Errorf("left in the covered file system: %v", names)
	}
}

// lookAtMount sees what readers see after the mount, while the link still leads to the old
// generation.
type lookAtMount struct {
	Linux
	t *testing.T
	c Config
}

func (m *lookAtMount) Mount(dir string, tmpfs bool, fill func(*os.Root) error) error {
	if err := m.Linux.Mount(dir, tmpfs, fill); err != nil {
		return err
	}
	if diff := cmp.Diff(oldFiles, live(m.t, m.c)); diff != "" {
		m.t.Errorf("behind the new mount: %s", diff)
	}
	if mounts := mountsAt(m.t, dir); len(mounts) != 2 {
		m.t.Errorf("mounts: %q", mounts)
	}
	return nil
}

// TestMount_oldKernel: without the calls for detached mounts the file system is mounted and then
// filled.
func TestMount_oldKernel(t *testing.T) {
	t.Parallel()
	if !testns.Inside(t) {
		return
	}
	for _, name := range []string{"ramfs", "tmpfs"} {
		dir := filepath.Join("/run", name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		filled := errors.New("filled")
		if err := mountThenFill(dir, name, func(root *os.Root) error {
			if err := root.WriteFile("x", nil, 0o600); err != nil {
				t.Error(err)
			}
			return filled
		}); !errors.Is(err, filled) {
			t.Error(err)
		}
		if mounts := mountsAt(t, dir); len(mounts) != 0 {
			t.Errorf("half filled, and still mounted: %q", mounts)
		}
		if err := mountThenFill(dir, name, func(root *os.Root) error { return root.WriteFile("x", nil, 0o600) }); err != nil {
			t.Error(err)
		}
		if mounts := mountsAt(t, dir); len(mounts) != 1 || !strings.HasPrefix(mounts[0], name+" rw,nosuid,nodev,noexec") {
			t.Errorf("mounts: %q", mounts)
		}
		if _, err := os.Stat(dir + "/x"); err != nil {
			t.Error(err)
		}
	}
}

// TestMount_link: the mount point may be a link to a directory, as for mount(2).
func TestMount_link(t *testing.T) {
	t.Parallel()
	if !testns.Inside(t) {
		return
	}
	if err := errors.Join(os.Mkdir("/run/real", 0o700), os.Symlink("real", "/run/secrets.d")); err != nil {
		t.Fatal(err)
	}
	c := config("/run", Linux{})
	for range 2 {
		if err := install(c, 1, oldFiles); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(oldFiles, live(t, c)); diff != "" {
		t.Error(diff)
	}
	if mounts := mountsAt(t, "/run/real"); len(mounts) != 1 {
		t.Errorf("mounts: %q", mounts)
	}
	if target, _ := os.Readlink("/run/secrets"); target != "/run/secrets.d/2" {
		t.Errorf("the link leads to %s", target)
	}
}

// TestMount_strangersDirectory: what is in an ordinary directory that a file system is mounted on
// stays.
func TestMount_strangersDirectory(t *testing.T) {
	t.Parallel()
	if !testns.Inside(t) {
		return
	}
	for _, name := range []string{"2024/data", ".new/data", "file/data"} {
		if err := os.MkdirAll(filepath.Join("/run/secrets.d", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	under, err := os.OpenRoot("/run/secrets.d")
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	if err := install(config("/run", Linux{}), 1, oldFiles); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2024/data", ".new/data", "file/data"} {
		if _, err := under.Stat(name); err != nil {
			t.Errorf("%s was removed: %v", name, err)
		}
	}
}

// TestReaders switches 200 times while others read. A reader of a path never fails. A reader of
// an open directory finds one set as long as its generation is kept.
func TestReaders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep int
		read func() error
	}{"a path": {1, readPath}, "an open directory": {0, readSet}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !testns.Inside(t) {
				return
			}
			// Where the kernel has to note the time at which a link was read, it cannot start a
			// walk again: then a reader that was stopped there for longer than a run may find
			// nothing (decision 22).
			if err := unix.Mount("", "/run", "", unix.MS_REMOUNT|unix.MS_NOATIME, ""); err != nil {
				t.Fatal(err)
			}
			switchAndRead(t, c.keep, c.read)
		})
	}
}

func switchAndRead(t *testing.T, keep int, read func() error) {
	t.Helper()
	c := config("/run", Linux{})
	set := func(n int) map[string]string {
		value := strings.Repeat("x", n)
		return map[string]string{"a": value, "b": value, "c/d": value}
	}
	if err := install(c, keep, set(1)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	counts := make(chan int)
	for range 2 {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					counts <- n
					return
				default:
				}
				if err := read(); err != nil {
					t.Errorf("read %d: %v", n, err)
				}
			}
		}()
	}
	for n := range 200 {
		if err := install(c, keep, set(n+2)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range 2 {
		if n := <-counts; n < 1000 {
			t.Errorf("only %d reads", n)
		}
	}
	if target, _ := os.Readlink("/run/secrets"); target != "/run/secrets.d/201" {
		t.Errorf("the link leads to %s", target)
	}
}

func readPath() error {
	_, err := os.ReadFile("/run/secrets/c/d")
	return err
}

func readSet() error {
	dir, err := os.OpenRoot("/run/secrets")
	if err != nil {
		return err
	}
	defer dir.Close()
	var sizes [3]int
	for i, name := range []string{"a", "b", "c/d"} {
		data, err := dir.ReadFile(name)
		if err != nil {
			return err
		}
		sizes[i] = len(data)
	}
	if sizes[0] != sizes[1] || sizes[1] != sizes[2] {
		return fmt.Errorf("a mixed set: %v", sizes)
	}
	return nil
}
