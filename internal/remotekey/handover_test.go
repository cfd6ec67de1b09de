package remotekey

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is in the place of the full program, and is none, is said; nothing is started. That a small
// program becomes the full one is shown by the programs' own tests (scripts/slim test).
func TestHandOver_failures(t *testing.T) {
	dir, self := t.TempDir(), os.Args[0]
	before := fullDirectory
	t.Cleanup(func() { fullDirectory, os.Args[0] = before, self })
	fullDirectory, os.Args[0] = dir, "program"
	path := filepath.Join(dir, "program")
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		place      func() error
	}{
		{"nothing", path + ", is not there", func() error { return nil }},
		{"no program", "cannot be executed", func() error { return os.WriteFile(path, nil, 0o600) }},
		{"a directory", "cannot be executed", func() error { return os.Mkdir(path, 0o700) }},
		{"this program", "and is the one without", func() error { return os.Symlink(executable, path) }},
		{"garbage", "hand over to the full program: " + path, func() error { return os.WriteFile(path, []byte{0}, 0o700) }},
	} {
		if err := errors.Join(os.RemoveAll(path), c.place()); err != nil {
			t.Fatal(err)
		}
		if err := HandOver(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	os.Args[0] = path // the small program, copied into the full one's place
	if err := HandOver(t.Context()); err == nil || !strings.Contains(err.Error(), "and is the one without") {
		t.Errorf("started as the full program: %v", err)
	}
	os.Args[0] = "program"
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := HandOver(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("after a signal: %v", err)
	}
}
