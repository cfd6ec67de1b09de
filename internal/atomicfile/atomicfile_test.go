package atomicfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/test/faults"
)

const (
	oldText = "the old content"
	newText = "the new content, which is longer"
)

// keep is an Attr that changes nothing but the mode.
func keep(mode fs.FileMode) atomicfile.Attr { return atomicfile.Attr{Mode: mode, UID: -1, GID: -1} }

func TestWriteFile(t *testing.T) {
	t.Parallel()
	for _, exists := range []bool{false, true} {
		t.Run(fmt.Sprintf("exists=%v", exists), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			if exists {
				write(t, path, oldText, 0o600)
			}
			if err := atomicfile.WriteFile(atomicfile.OS(), path, []byte(newText), keep(0o641)); err != nil {
				t.Fatal(err)
			}
			check(t, path, newText, 0o641)
		})
	}
}

func TestWriteFile_mode_is_independent_of_the_umask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	old := syscall.Umask(0o777)
	defer syscall.Umask(old)
	if err := atomicfile.WriteFile(atomicfile.OS(), path, nil, keep(0o444|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	check(t, path, "", 0o444|fs.ModeSetgid)
}

func TestWriteFile_owner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "f")
	attr := atomicfile.Attr{Mode: 0o755 | fs.ModeSetuid, UID: 12, GID: 34}
	if err := atomicfile.WriteFile(atomicfile.OS(), path, []byte(newText), attr); err != nil {
		t.Fatal(err)
	}
	check(t, path, newText, 0o755|fs.ModeSetuid)
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 12 || st.Gid != 34 {
		t.Errorf("owner %d:%d, want 12:34", st.Uid, st.Gid)
	}
}

// A link is replaced, not followed: what it points to may belong to somebody else.
func TestWriteFile_replaces_a_link(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "victim"), oldText, 0o600)
	if err := os.Symlink("victim", filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WriteFile(atomicfile.OS(), filepath.Join(dir, "f"), []byte(newText), keep(0o600)); err != nil {
		t.Fatal(err)
	}
	check(t, filepath.Join(dir, "victim"), oldText, 0o600)
	check(t, filepath.Join(dir, "f"), newText, 0o600)
}

// Every operation is failed, or the program stopped at it, in every way: the file is the old one
// or the new one, the error says which, no temporary file is left behind unless the program was
// stopped or the file system is gone, and the next run succeeds and leaves nothing.
func TestWriteFile_faults(t *testing.T) {
	t.Parallel()
	attr := keep(0o640)
	if os.Geteuid() == 0 {
		attr.UID, attr.GID = 0, 0
	}
	count := faults.Count(atomicfile.OS())
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, oldText, 0o600)
	if err := atomicfile.WriteFile(count, path, []byte(newText), attr); err != nil {
		t.Fatal(err)
	}
	ops := count.Ops()
	if want := "sync"; !strings.HasPrefix(ops[len(ops)-4], want) || !strings.HasPrefix(ops[len(ops)-3], want) {
		t.Fatalf("operations %q: want file and directory synced after the rename", ops)
	}
	for at, op := range ops {
		for _, mode := range []faults.Mode{faults.Fail, faults.After, faults.Short, faults.Gone, faults.Kill, faults.Half} {
			for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
				t.Run(fmt.Sprintf("%d %s %v %v", at, strings.Fields(op)[0], mode, cause), func(t *testing.T) {
					t.Parallel()
					testFault(t, faults.New(atomicfile.OS(), mode, at, cause), mode, cause, attr)
				})
			}
		}
	}
}

func testFault(t *testing.T, l *faults.Layer, mode faults.Mode, cause error, attr atomicfile.Attr) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, oldText, 0o600)
	err := atomicfile.WriteFile(l, path, []byte(newText), attr)
	stopped := mode == faults.Kill || mode == faults.Half
	if err == nil && read(t, path) != newText { // looking for what others left may fail
		t.Fatalf("no error; operations %q", l.Ops())
	}
	if err != nil && !stopped && !errors.Is(err, cause) {
		t.Errorf("error %q does not tell %v", err, cause)
	}
	if leaked := l.Leaked(); len(leaked) > 0 {
		t.Errorf("left open: %q", leaked)
	}
	got := read(t, path)
	if got != oldText && got != newText {
		t.Fatalf("content %q", got)
	}
	if errors.Is(err, atomicfile.ErrUnsynced) && got != newText {
		t.Errorf("content %q after %q", got, err)
	}
	if names := list(t, dir); len(names) != 1 && !stopped && mode != faults.Gone {
		t.Errorf("directory holds %q", names)
	}
	if err := atomicfile.WriteFile(atomicfile.OS(), path, []byte(newText), attr); err != nil {
		t.Fatal(err)
	}
	check(t, path, newText, attr.Mode)
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("directory holds %q after the second run", names)
	}
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{
		".sops-initrd-0123456789abcdef.tmp",  // ours
		".sops-initrd-0123456789abcdeg.tmp",  // not hexadecimal
		".sops-initrd-0123456789abcde.tmp",   // short
		".sops-initrd-0123456789abcdef0.tmp", // long
		".sops-initrd-0123456789abcdef",
		".y-0123456789abcdef.tmp",
		".atomicfile-0123456789abcdef.tmp", // ours, of an earlier version
		"x-0123456789abcdef.tmp",
	} {
		write(t, filepath.Join(dir, name), "", 0o600)
	}
	if err := os.Mkdir(filepath.Join(dir, ".sops-initrd-00000000000000aa.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, ".sops-initrd-00000000000000bb.tmp")); err != nil {
		t.Fatal(err)
	}
	d, err := atomicfile.OS().OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	atWork, err := atomicfile.Create(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.RemoveStale(d); err != nil {
		t.Fatal(err)
	}
	left := list(t, dir)
	for _, name := range []string{".sops-initrd-0123456789abcdef.tmp", ".atomicfile-0123456789abcdef.tmp"} {
		if slices.Contains(left, name) {
			t.Errorf("%s was left", name)
		}
	}
	if len(left) != 9 {
		t.Errorf("left %q", left)
	}
	if err := atWork.Commit("f"); err != nil {
		t.Errorf("somebody worked on a file meanwhile: %v", err)
	}
}

func TestDir_open_does_not_follow_or_block(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(path, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := atomicfile.OS().OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, open := range map[string]func(string) (atomicfile.File, error){"open": d.Open, "write": d.OpenWrite, "create": d.Create} {
		if f, err := open("link"); err == nil {
			f.Close()
			t.Errorf("%s followed a link", name)
		}
	}
	f, err := d.Open("fifo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || i.Mode.Type() != fs.ModeNamedPipe {
		t.Errorf("fifo is %v, %v", i.Mode, err)
	}
}

func TestFile_CopyFrom(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	write(t, filepath.Join(path, "src"), "0123456789", 0o600)
	d, err := atomicfile.OS().OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	src, err := d.Open("src")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := d.Create("dst")
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	for _, c := range []struct{ off, n, done int64 }{{2, 3, 3}, {0, 0, 0}, {0, 10, 10}, {8, 3, 2}, {20, 1, 0}} {
		done, err := dst.CopyFrom(src, c.off, c.n)
		if done != c.done || (err != nil) != (c.done < c.n) {
			t.Errorf("copy %d at %d: %d, %v", c.n, c.off, done, err)
		}
	}
	if got, want := read(t, filepath.Join(path, "dst")), "234"+"0123456789"+"89"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func check(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode() != mode {
		t.Errorf("%s: mode %v, want %v", path, fi.Mode(), mode)
	}
	if mode&0o400 == 0 && os.Geteuid() != 0 {
		return
	}
	if got := read(t, path); got != text {
		t.Errorf("%s: %q, want %q", path, got, text)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
