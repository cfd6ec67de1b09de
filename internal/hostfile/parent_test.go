package hostfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"real/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"relative": "real", "absolute": filepath.Join(dir, "real"), "up": "real/sub/../sub", "loop": "loop", "dangling": "nowhere/at/all"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{ // the real directory, or the end of the error
		"real":             "real",
		"new/made/dirs":    "new/made/dirs",
		"relative/sub":     "real/sub",
		"relative/new":     "real/new",
		"absolute/sub":     "real/sub",
		"up":               "real/sub",
		"up/new":           "real/sub/new",
		"loop/x":           "too many levels of symbolic links",
		"dangling/further": "nowhere/at/all/further",
		"file/x":           "not a directory",
	} {
		f, err := OpenParent(filepath.Join(dir, path))
		if err != nil {
			if !strings.HasSuffix(err.Error(), want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		got, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		expected, err := os.Stat(filepath.Join(dir, want))
		if err != nil || !os.SameFile(got, expected) {
			t.Errorf("%s leads to another place than %s (%v)", path, want, err)
		}
	}
}

// TestOpenParent_othersLinks: root does not follow a user's links to what is not the user's.
func TestOpenParent_othersLinks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const alice, bob = 1000, 1001
	base := t.TempDir()
	own := func(name string, uid int) {
		if err := os.Lchown(filepath.Join(base, name), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	for name, uid := range map[string]int{
		"root": 0, "root/.ssh": 0, "alice": alice, "alice/files": alice, "alice/files/ours": 0, "bob": bob, "alice/files/deep": alice,
	} {
		if err := os.MkdirAll(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
		own(name, uid)
	}
	links := map[string]string{
		"alice/.ssh":    filepath.Join(base, "root/.ssh"), // to root's
		"alice/up":      "../root",
		"alice/bobs":    filepath.Join(base, "bob"),
		"alice/own":     "files",
		"alice/own-abs": filepath.Join(base, "alice/files"),
		"alice/twice":   "own/deep",
		"alice/cover":   "bobs",        // through a link to bob's
		"alice/absent":  "files/fresh", // root makes nothing behind a user's link
		"link-of-root":  "alice/files",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "alice") {
			own(name, alice)
		}
	}
	for name, uid := range map[string]int{"alice": alice, "alice/files": alice, "alice/files/deep": alice, "bob": bob} {
		own(name, uid)
	}
	for path, want := range map[string]string{
		"alice/.ssh":           "belongs to user 0",
		"alice/up/.ssh":        "belongs to user 0",
		"alice/bobs":           "belongs to user 1001",
		"alice/cover":          "belongs to user 1001",
		"alice/absent":         "no such file or directory",
		"alice/own":            "",
		"alice/own/ours":       "",
		"alice/own/new":        "",
		"alice/own-abs/deep":   "",
		"alice/twice":          "",
		"alice/made/by/root":   "",
		"link-of-root":         "",
		"link-of-root/further": "",
	} {
		f, err := OpenParent(filepath.Join(base, path))
		switch {
		case err == nil:
			f.Close()
			if want != "" {
				t.Errorf("%s was followed", path)
			}
		case want == "" || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(base, "alice/files/fresh")); err == nil {
		t.Error("a directory was made behind a user's link")
	}
}

// TestOpenParent_owner: what is made below a user's directory belongs to the user, what is made
// elsewhere to root.
func TestOpenParent_owner(t *testing.T) {
	t.Parallel()
	needRoot(t)
	base := t.TempDir()
	for name, id := range map[string]int{"alice": 1000, "root": 0} {
		dir := filepath.Join(base, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, id, id+1)); err != nil {
			t.Fatal(err)
		}
		made := filepath.Join(dir, "a/b")
		if err := MkdirAll(made); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{made, filepath.Dir(made)} {
			var info unix.Stat_t
			if err := unix.Stat(dir, &info); err != nil {
				t.Fatal(err)
			}
			wantGroup := id + 1
			if id == 0 {
				wantGroup = 0
			}
			if int(info.Uid) != id || int(info.Gid) != wantGroup || info.Mode&0o7777 != 0o755 {
				t.Errorf("%s belongs to %d:%d, mode %o", dir, info.Uid, info.Gid, info.Mode)
			}
		}
	}
}

// TestInherit: a directory that the user moved to the place of the new one is not given away.
func TestInherit(t *testing.T) {
	t.Parallel()
	needRoot(t)
	base := t.TempDir()
	if err := errors.Join(os.Chown(base, 1000, 1000), os.MkdirAll(base+"/ours/file", 0o700)); err != nil {
		t.Fatal(err)
	}
	parent, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	dir, err := os.Open(base + "/ours")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := (&walk{dir: parent}).inherit(dir); err != nil {
		t.Error(err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &info); err != nil || info.Uid != 0 {
		t.Errorf("it belongs to %d, %v", info.Uid, err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	t.Skip("needs root, for files of several owners")
}
