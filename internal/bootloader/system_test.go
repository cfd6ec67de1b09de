package bootloader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// system makes a system in a store that only this user can write.
func system(t *testing.T) (toplevel string) {
	t.Helper()
	store := filepath.Join(t.TempDir(), "store")
	for _, dir := range []string{"appender/bin", "system"} {
		if err := os.MkdirAll(filepath.Join(store, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	appender := filepath.Join(store, "appender", "bin", appenderName)
	err := errors.Join(
		os.Chmod(store, 0o755), os.WriteFile(appender, nil, 0o755), os.WriteFile(filepath.Join(store, "appender", manifestName), nil, 0o644),
		os.Symlink(appender, filepath.Join(store, "system", appenderName)), os.Symlink("system", filepath.Join(store, "profile")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(store, "profile")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	profile := system(t)
	store := filepath.Dir(profile)
	s := Open(profile)
	want := System{filepath.Join(store, "system"), filepath.Join(store, "appender", "bin", appenderName), filepath.Join(store, "appender", manifestName)}
	if s != want || s.Gone() || s.Name() != "system" {
		t.Errorf("%+v, want %+v", s, want)
	}
	if s := Open(filepath.Join(store, "none")); !s.Gone() || s.Appender != "" {
		t.Errorf("a system that is not there: %+v", s)
	}
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(store, appender string) error
		ok    bool
	}{
		{"as it should be", func(string, string) error { return nil }, true},
		{"sticky directory, as the Nix store is", func(store, _ string) error { return os.Chmod(store, 0o775|fs.ModeSticky) }, true},
		{"program of all", func(_, a string) error { return os.Chmod(a, 0o757) }, false},
		{"directory of all", func(store, _ string) error { return os.Chmod(store, 0o777) }, false},
		{"program of another user", func(_, a string) error { return os.Chown(a, 65533, -1) }, false},
		{"directory of another user", func(_, a string) error { return os.Chown(filepath.Dir(a), 65533, -1) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			profile := system(t)
			appender := Open(profile).Appender
			err := c.spoil(filepath.Dir(profile), appender)
			if errors.Is(err, fs.ErrPermission) {
				t.Skip("needs root to give a file away")
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := trusted(appender); (err == nil) != c.ok {
				t.Errorf("%v, want trusted: %v", err, c.ok)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &run{dir: openDir(t, dir)}
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if err := os.WriteFile(second, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.refresh(first, second); err != nil {
		t.Errorf("without a first copy: %v", err)
	}
	if err := os.WriteFile(first, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := r.refresh(first, second); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(second)
	if err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	if after, err := os.Stat(second); err != nil || os.SameFile(before, after) {
		t.Errorf("was written in place (%v)", err)
	}
}
