package record

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var one, two = sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))

func TestStore_knowsWhatWasAddedAndNothingElse(t *testing.T) {
	t.Parallel()
	boot, other := t.TempDir(), t.TempDir()
	s := In(filepath.Join(t.TempDir(), "a", "state"))
	if ok, err := s.Has(one, boot); ok || err != nil {
		t.Fatalf("before there is a store: %v, %v", ok, err)
	}
	for range 2 { // the second time changes nothing
		if err := s.Add(one, boot); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		sum  Sum
		dir  string
		want bool
	}{
		{"what was added", one, boot, true},
		{"same directory, spelled otherwise", one, boot + "/../" + filepath.Base(boot), true},
		{"another segment", two, boot, false},
		{"another directory", one, other, false},
	} {
		if ok, err := s.Has(c.sum, c.dir); ok != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", c.name, ok, err, c.want)
		}
	}
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("store: %v, %v, want mode 0700", info.Mode(), err)
	}
	if files := list(t, s.dir); len(files) != 1 {
		t.Errorf("store has %q, want one record", files)
	}
}

// A record counts only where nobody else can have written it.
func TestStore_distrusts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		spoil   func(store, file string) error
		wantErr bool
	}{
		{
			"store that others may enter", func(store, _ string) error { return os.Chmod(store, 0o755) },
			true,
		},
		{"store that is a symbolic link", func(store, _ string) error {
			return errors.Join(os.Rename(store, store+".real"), os.Symlink(store+".real", store))
		}, true},
		{
			"record that others may write", func(_, file string) error { return os.Chmod(file, 0o620) },
			true,
		},
		{"record that is a symbolic link", func(_, file string) error {
			return errors.Join(os.Rename(file, file+".real"), os.Symlink(file+".real", file))
		}, true},
		{"record that is a hard link", func(_, file string) error {
			return os.Link(file,
				file+".real")
		}, true},
		{"record that is not JSON", func(_, file string) error {
			return os.WriteFile(file, []byte("x"),
				0o600)
		}, true},
		{"record of a later version", func(_, file string) error {
			return os.WriteFile(file,
				[]byte(`{"version":2}`), 0o600)
		}, false},
		{"record under another's name", func(_, file string) error {
			return os.WriteFile(file,
				[]byte(`{"version":1}`), 0o600)
		}, false},
		{
			"store of another user", func(store, _ string) error { return os.Lchown(store, 65534, 65534) },
			true,
		},
		{
			"record of another user", func(_, file string) error { return os.Lchown(file, 65534, 65534) },
			true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			boot, s := t.TempDir(), In(filepath.Join(t.TempDir(), "state"))
			if err := s.Add(one, boot); err != nil {
				t.Fatal(err)
			}
			err := c.spoil(s.dir, filepath.Join(s.dir, list(t, s.dir)[0]))
			if errors.Is(err, fs.ErrPermission) {
				t.Skip("needs root to give a file away")
			}
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := s.Has(one, boot); ok || (err != nil) != c.wantErr {
				t.Errorf("Has: %v, %v; want no record, error: %v", ok, err, c.wantErr)
			}
		})
	}
}

func TestStore_prune(t *testing.T) {
	t.Parallel()
	boot, gone := t.TempDir(), t.TempDir()
	s := In(filepath.Join(t.TempDir(), "state"))
	for _, add := range []struct {
		sum Sum
		dir string
	}{{one, boot}, {two, boot}, {one, gone}} {
		if err := s.Add(add.sum, add.dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	asked := 0
	held := func(dir string) (map[Sum]bool, error) {
		asked++
		if dir == gone {
			return nil, fs.ErrNotExist
		}
		return map[Sum]bool{two: true}, nil
	}
	if err := s.Prune(held); err != nil {
		t.Fatal(err)
	}
	if asked != 2 {
		t.Errorf("asked for %d directories, want each of 2 once", asked)
	}
	if files := list(t, s.dir); len(files) != 1 {
		t.Errorf("left: %q, want the record of the one segment that is still there", files)
	}
	if ok, err := s.Has(two, boot); !ok || err != nil {
		t.Errorf("the record of an installed segment: %v, %v", ok, err)
	}
}

func TestStore_pruneKeeps(t *testing.T) {
	t.Parallel()
	t.Run("what cannot be looked at", func(t *testing.T) {
		t.Parallel()
		boot, s := t.TempDir(), In(filepath.Join(t.TempDir(), "state"))
		if err := s.Add(one, boot); err != nil {
			t.Fatal(err)
		}
		if err := s.Prune(func(string) (map[Sum]bool, error) {
			return nil,
				fs.ErrPermission
		}); err == nil {
			t.Error("no error for a directory that cannot be read")
		}
		if ok, _ := s.Has(one, boot); !ok {
			t.Error("the record is gone")
		}
	})
	t.Run("what is on a file system that is not mounted", func(t *testing.T) {
		t.Parallel()
		boot, s := t.TempDir(), In(filepath.Join(t.TempDir(), "state"))
		n, err := newNote(one, boot)
		if err != nil {
			t.Fatal(err)
		}
		n.Mount = boot // as if boot had been a mount point
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := write(filepath.Join(s.dir, n.fileName()),
			[]byte(`{"version":1,"segment":"`+n.Segment+`","dir":"`+n.Dir+`","mount":"`+n.Mount+`"}`)); err != nil {
			t.Fatal(err)
		}
		if err := s.Prune(func(string) (map[Sum]bool, error) { return map[Sum]bool{}, nil }); err != nil {
			t.Fatal(err)
		}
		if ok, _ := s.Has(one, boot); !ok {
			t.Error("the record is gone")
		}
	})
	t.Run("no store", func(t *testing.T) {
		t.Parallel()
		if err := In(filepath.Join(t.TempDir(), "none")).Prune(nil); err != nil {
			t.Error(err)
		}
	})
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// A store that was made under the umask of an installer can be entered by others than root as well.
func TestAdd_storeUnderAnyUmask(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(store, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := In(store).Add(Sum{1}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(store); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", info.Mode(), err)
	}
}

// What is missing above a store is made for everybody: /var/lib is not the store's alone.
func TestAdd_directoriesAboveTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := In(filepath.Join(dir, "var/lib/store")).Add(Sum{1}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"var": 0o755, "var/lib": 0o755, "var/lib/store": 0o700} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
