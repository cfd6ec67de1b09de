package generation

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

func TestPlaceLink(t *testing.T) {
	t.Parallel()
	const target = "/run/secrets/x"
	for _, c := range []struct {
		name string
		make func(path string) error
		want string // error; "" if the link is placed
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"the link itself", func(p string) error { return os.Symlink(target, p) }, ""},
		{"another link", func(p string) error { return os.Symlink("/nowhere", p) }, ""},
		{"a link to a directory", func(p string) error { return os.Symlink("/", p) }, ""},
		{"a file", func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) }, ""},
		{"an empty directory", func(p string) error { return os.Mkdir(p, 0o700) }, ""},
		{"a full directory", func(p string) error { return os.MkdirAll(p+"/sub", 0o700) }, "is a directory with files in it"},
		{"what an interrupted run left", func(p string) error {
			return os.Symlink(filepath.Join(filepath.Dir(p), "secrets/old"), filepath.Join(filepath.Dir(p), tempName("link")))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "link")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			m := &fake{}
			s := &Store{Config: config(dir, m)}
			err := s.PlaceLink(path, target, 1234, 5678)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if _, err := os.Stat(path + "/sub"); err != nil {
					t.Errorf("what was there has changed: %v", err)
				}
			} else {
				if err != nil {
					t.Error(err)
				}
				if got, _ := os.Readlink(path); got != target {
					t.Errorf("link to %q", got)
				}
				if got := m.owners[filepath.Join(dir, tempName("link"))]; got != "1234:5678" {
					t.Errorf("owner %q", got)
				}
			}
			if names := list(t, dir); len(names) != 1 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// TestStrangers: what has a name that this program uses, but was not made by it, stays, and an
// error says so where it is in the way.
func TestStrangers(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), &fake{})
	c.UserMode, c.Stage1 = true, false
	dir := filepath.Dir(c.Link)
	stays := []string{
		"secrets.d/2024/data", "secrets.d/1/data", ".secrets.old/data", ".secrets.new/data", "elsewhere/.a.new/data",
	}
	for _, name := range stays {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"2", "3", "4"} {
		if err := install(c, 1, oldFiles); err != nil {
			t.Fatal(err)
		}
		if target, _ := os.Readlink(c.Link); target != filepath.Join(c.MountPoint, want) {
			t.Errorf("run %d: the link leads to %s", i, target)
		}
		expected := []string{"." + want + ".json", "1", "2024", want}
		slices.Sort(expected)
		if diff := cmp.Diff(expected, list(t, c.MountPoint)); diff != "" {
			t.Errorf("run %d: %s", i, diff)
		}
	}
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s was removed: %v", name, err)
		}
	}

	for _, temp := range []string{filepath.Join(dir, tempName("secrets")), filepath.Join(dir, "elsewhere", tempName("a"))} {
		for kind, create := range map[string]func() error{
			"file":      func() error { return os.WriteFile(temp, nil, 0o600) },
			"link":      func() error { return os.Symlink("/etc", temp) },
			"directory": func() error { return os.MkdirAll(temp+"/sub", 0o755) },
		} {
			if err := errors.Join(os.RemoveAll(filepath.Join(dir, "elsewhere", "a")), create()); err != nil {
				t.Fatal(err)
			}
			err := install(c, 1, newFiles)
			if err == nil || !strings.Contains(err.Error(), temp+" is in the way, and was not made by this program") {
				t.Errorf("%s at %s: %v", kind, temp, err)
			}
			if _, err := os.Lstat(temp); err != nil {
				t.Errorf("%s was removed: %v", kind, err)
			}
			if err := os.RemoveAll(temp); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSwap_directory: only what stage 1 left is replaced together with its files.
func TestSwap_directory(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), &fake{})
	c.Stage1 = false
	if err := os.MkdirAll(c.Link+"/file", 0o755); err != nil {
		t.Fatal(err)
	}
	err := install(c, 1, oldFiles)
	if err == nil || !strings.Contains(err.Error(), c.Link+" is a directory with files in it") {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"secrets", "secrets.d", "secrets.d.lock"}, list(t, filepath.Dir(c.Link))); diff != "" {
		t.Error(diff)
	}
	if err := os.Remove(c.Link + "/file"); err != nil {
		t.Fatal(err)
	}
	if err := install(c, 1, oldFiles); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestRemoveLink(t *testing.T) {
	t.Parallel()
	s := &Store{Config: config(t.TempDir(), &fake{})}
	dir := filepath.Dir(s.Link)
	for name, c := range map[string]struct {
		create  func(path string) error
		removed bool
	}{
		"ours":            {func(p string) error { return os.Symlink(s.Link+"/a/b", p) }, true},
		"another link":    {func(p string) error { return os.Symlink("/etc/passwd", p) }, false},
		"a similar link":  {func(p string) error { return os.Symlink(s.Link+"-for-users/a", p) }, false},
		"a file":          {func(p string) error { return os.WriteFile(p, nil, 0o600) }, false},
		"a directory":     {func(p string) error { return os.Mkdir(p, 0o700) }, false},
		"nothing":         {func(string) error { return nil }, false},
		"no/such/parent":  {func(string) error { return nil }, false},
		"a file/with/sub": {func(string) error { return nil }, false},
	} {
		path := filepath.Join(dir, name)
		if err := c.create(path); err != nil {
			t.Fatal(err)
		}
		_, before := os.Lstat(path)
		if err := s.RemoveLink(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, after := os.Lstat(path); (after == nil) != (before == nil && !c.removed) {
			t.Errorf("%s: before %v, after %v", name, before, after)
		}
		if _, err := os.Stat(filepath.Join(dir, "no")); err == nil {
			t.Error("a directory was made")
		}
	}
}

// TestOpenLink: whoever owns the directory can put something else in the place of the new link
// before it is chowned.
func TestOpenLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	parent, err := hostfile.OpenParent(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	if f, err := openLink(parent, "link"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	if f, err := openLink(parent, "file"); err == nil {
		t.Error("a file is taken for the link")
		f.Close()
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 255)
	if got := tempName(long); len(got) != 255 || !strings.HasSuffix(got, tempSuffix) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
