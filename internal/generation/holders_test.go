package generation

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPrune_held: a generation that a process has open stays for the run after it.
func TestPrune_held(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), &fake{})
	run := func() {
		t.Helper()
		if err := install(c, 1, oldFiles); err != nil {
			t.Fatal(err)
		}
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(c.MountPoint, name))
		return err == nil
	}
	run()
	dir, err := os.Open(filepath.Join(c.Link, "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	run()
	if !has("1") || !has(".1.json") {
		t.Error("a generation was removed under a reader")
	}
	run()
	if !has("1") || has("2") || has(".2.json") {
		t.Errorf("want 1, which is held, and 3: %v", list(t, c.MountPoint))
	}
	// Not for ever: whoever may enter a directory could keep old secrets alive by that.
	long := time.Now().Add(-2 * holdTime)
	if err := os.Chtimes(filepath.Join(c.MountPoint, "1"), long, long); err != nil {
		t.Fatal(err)
	}
	run()
	if has("1") || has("3") {
		t.Errorf("want 4 only: %v", list(t, c.MountPoint))
	}
}

// TestHeld_manyFiles: a process may have more open than one read of its directory in /proc gives.
func TestHeld_manyFiles(t *testing.T) {
	t.Parallel()
	mountPoint := t.TempDir()
	if err := os.MkdirAll(filepath.Join(mountPoint, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for i := range 900 { // of 24 bytes each in a directory's list
		f, err := os.Open(other)
		if err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		defer f.Close()
	}
	if got := held(mountPoint); len(got) != 0 {
		t.Errorf("held are %v, want none", got)
	}
	f, err := os.Open(filepath.Join(mountPoint, "7"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := held(mountPoint); len(got) != 1 || !got[7] {
		t.Errorf("held are %v, want 7", got)
	}
}
