package generation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
			return os.Symlink("/old", filepath.Join(filepath.Dir(p), tempName(filepath.Base(p))))
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

// TestOpenLink: whoever owns the directory can put something else in the place of the new link before it is chowned.
func TestOpenLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	parent, err := openDir(dir)
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
	if got := tempName(long); len(got) != 255 || !strings.HasSuffix(got, ".new") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
