package generation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func config(dir string, m Machine) Config {
	return Config{
		MountPoint: filepath.Join(dir, "secrets.d"), Link: filepath.Join(dir, "secrets"),
		Group: me.GID, Stage1: true, Machine: m,
	}
}

// me is whoever runs the tests.
var me = File{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}

// install writes one generation with the given files and prunes.
func install(c Config, keep int, files map[string]string) error {
	s, err := Lock(context.Background(), c, func() {})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Mount(); err != nil {
		return err
	}
	d, err := s.Begin()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(keys(files)) {
		f := File{Data: []byte(files[name]), Mode: 0o440, UID: me.UID, GID: me.GID}
		if err := d.Write(name, f); err != nil {
			return errors.Join(err, d.Discard())
		}
	}
	if err := d.Publish([]byte("{}")); err != nil {
		return err
	}
	elsewhere := filepath.Join(filepath.Dir(c.Link), "elsewhere", "a")
	return errors.Join(s.PlaceLink(elsewhere, filepath.Join(c.Link, "a"), me.UID, me.GID), s.Prune(keep))
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// live reads what is behind the link; nil if there is nothing.
func live(t *testing.T, c Config) map[string]string {
	t.Helper()
	g, err := Current(c.MountPoint, c.Link)
	if err != nil {
		t.Fatal(err)
	}
	if g == nil {
		return nil
	}
	defer g.Close()
	names, err := g.Files()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, name := range names {
		f, err := g.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Mode != 0o440 {
			t.Errorf("%s has mode %v", name, f.Mode)
		}
		files[name] = string(f.Data)
	}
	return files
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

var (
	oldFiles = map[string]string{"a": "old a", "db/password": "old password", "rendered/x": "old x"}
	newFiles = map[string]string{"a": "new a", "db/password": "new password", "rendered/x": "new x", "more": "b"}
)

func TestStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := config(dir, &fake{})
	for i, files := range []map[string]string{oldFiles, newFiles, oldFiles} {
		if err := install(c, 1, files); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(files, live(t, c)); diff != "" {
			t.Error(diff)
		}
		number := strconv.Itoa(i + 1)
		if diff := cmp.Diff([]string{"." + number + ".json", number}, list(t, c.MountPoint)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"elsewhere", "secrets", "secrets.d", "secrets.d.lock"}, list(t, dir)); diff != "" {
			t.Error(diff)
		}
		if target, _ := os.Readlink(c.Link); target != filepath.Join(c.MountPoint, number) {
			t.Errorf("the link points to %s", target)
		}
	}
}

// TestStore_umask: modes are what was asked for, whatever the umask is.
func TestStore_umask(t *testing.T) { // not parallel: the umask is that of the process
	masks := []int{0, 0o077}
	if os.Geteuid() == 0 {
		masks = append(masks, 0o777) // others could not enter what they make
	}
	for _, mask := range masks {
		t.Run(fmt.Sprintf("%03o", mask), func(t *testing.T) {
			c := config(t.TempDir(), &fake{})
			before := syscall.Umask(mask)
			err := install(c, 1, oldFiles)
			syscall.Umask(before)
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]fs.FileMode{
				c.MountPoint: 0o751 | fs.ModeDir, c.MountPoint + "/1": 0o751 | fs.ModeDir, c.MountPoint + "/1/db": 0o751 | fs.ModeDir,
				c.MountPoint + "/1/db/password": 0o440, filepath.Dir(c.Link) + "/elsewhere": 0o755 | fs.ModeDir,
				c.MountPoint + ".lock": 0o600,
			} {
				info, err := os.Stat(path)
				if err != nil {
					t.Error(err)
				} else if info.Mode() != want {
					t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
				}
			}
		})
	}
}

// TestStore_interrupted fails or kills an installation at every single change it makes.
// Afterwards the old generation is live and whole, or the new one is, and the next run leaves
// nothing behind.
func TestStore_interrupted(t *testing.T) {
	if at := os.Getenv("GENERATION_KILL_AT"); at != "" {
		n, _ := strconv.Atoi(at)
		c := config(os.Getenv("GENERATION_DIR"), &fake{failAt: n, stop: func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }})
		if err := install(c, 1, newFiles); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	starts := map[string]func(t *testing.T, c Config){
		"nothing": func(*testing.T, Config) {},
		"a generation": func(t *testing.T, c Config) {
			if err := install(c, 1, oldFiles); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, c Config) {
			for name, data := range oldFiles {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(c.Link, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(c.Link, name), []byte(data), 0o440); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, start := range starts {
		faults := []error{nil, syscall.ENOSPC}
		if name == "a generation" {
			faults = append(faults, syscall.EIO, syscall.EMFILE, syscall.EACCES)
		}
		for _, fault := range faults {
			what := "kill"
			if fault != nil {
				what = fault.Error()
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					c := config(t.TempDir(), &fake{})
					start(t, c)
					before := live(t, c)
					var done bool
					if fault == nil {
						done = runKilled(t, c, n)
					} else {
						done = runFailing(t, c, n, fault)
					}
					after := live(t, c)
					if !cmp.Equal(before, after) && !cmp.Equal(newFiles, after) {
						t.Fatalf("stopped at step %d: live is neither old nor new: %v", n, after)
					}
					if done && !cmp.Equal(newFiles, after) {
						t.Fatalf("all steps done, but live is %v", after)
					}
					checkRepaired(t, c, n)
					if done {
						if n < 20 {
							t.Fatalf("only %d steps seen", n)
						}
						return
					}
				}
			})
		}
	}
}

// runFailing installs the new files with a fault at step n and says whether there was no step n.
func runFailing(t *testing.T, c Config, n int, fault error) bool {
	m := &fake{failAt: n, err: fault}
	c.Machine = m
	err := install(c, 1, newFiles)
	if len(m.steps) < n {
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	if !errors.Is(err, fault) {
		t.Fatalf("step %d (%s): error is %v", n, m.steps[n-1], err)
	}
	if !strings.Contains(err.Error(), "/") {
		t.Errorf("step %d (%s): error names no path: %v", n, m.steps[n-1], err)
	}
	return false
}

// runKilled installs the new files in a child that is killed at step n and says whether it came
// to its end.
func runKilled(t *testing.T, c Config, n int) bool {
	child := exec.Command(os.Args[0], "-test.run=^TestStore_interrupted$")
	child.Env = append(os.Environ(), "GENERATION_KILL_AT="+strconv.Itoa(n), "GENERATION_DIR="+filepath.Dir(c.MountPoint))
	out, err := child.CombinedOutput()
	if err == nil {
		return true
	}
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: %v\n%s", n, err, out)
	}
	return false
}

func checkRepaired(t *testing.T, c Config, n int) {
	t.Helper()
	if err := install(c, 1, newFiles); err != nil {
		t.Fatalf("the run after step %d: %v", n, err)
	}
	if diff := cmp.Diff(newFiles, live(t, c)); diff != "" {
		t.Errorf("the run after step %d: %s", n, diff)
	}
	if names := list(t, filepath.Dir(c.MountPoint)); !cmp.Equal(names, []string{"elsewhere", "secrets", "secrets.d", "secrets.d.lock"}) {
		t.Errorf("the run after step %d leaves %v", n, names)
	}
	target, err := os.Readlink(c.Link)
	if err != nil {
		t.Fatal(err)
	}
	number := filepath.Base(target)
	if names := list(t, c.MountPoint); !cmp.Equal(names, []string{"." + number + ".json", number}) {
		t.Errorf("the run after step %d leaves %v in the mount point", n, names)
	}
	if names := list(t, filepath.Join(filepath.Dir(c.Link), "elsewhere")); !cmp.Equal(names, []string{"a"}) {
		t.Errorf("the run after step %d leaves %v beside a link", n, names)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		keep    int
		present []string // before the run that makes 101, with 100 live
		want    []string
	}{
		{"keep all", 0, []string{"1", "50", "99", "non-numeric"}, []string{"1", "100", "101", "50", "99", "non-numeric"}},
		{"keep ten", 10, []string{"90", "91", "92", "non-numeric"}, []string{"100", "101", "92", "non-numeric"}},
		{"keep one", 1, []string{"1", "99"}, []string{"101"}},
		{"keep two", 2, []string{"1", "99"}, []string{"100", "101"}},
		{"above the live one", 1, []string{"102", "4000"}, []string{"101"}},
		{"not numbers", 1, []string{"007", "+3", "3x", "-1", "0", "gpg12", "99999999999999999999999"}, []string{"+3", "-1", "0", "007", "101", "3x", "99999999999999999999999", "gpg12"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t.TempDir(), &fake{})
			for _, name := range append([]string{"100"}, c.present...) {
				if err := os.MkdirAll(filepath.Join(cfg.MountPoint, name, "sub"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(filepath.Join(cfg.MountPoint, "100"), cfg.Link); err != nil {
				t.Fatal(err)
			}
			if err := install(cfg, c.keep, oldFiles); err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(list(t, cfg.MountPoint), func(name string) bool { return name == ".101.json" })
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrune_foreignKeys(t *testing.T) {
	t.Parallel()
	for text, stays := range map[string]bool{
		"# generated by sops-nix at 2026-01-01T00:00:00Z\nAGE-SECRET-KEY-1TEST\n": false,
		"# created: 2026\nAGE-SECRET-KEY-1TEST\n":                                 true,
	} {
		c := config(t.TempDir(), &fake{})
		file := filepath.Join(c.MountPoint, "age-keys.txt")
		if err := os.Mkdir(c.MountPoint, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := install(c, 1, oldFiles); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); (err == nil) != stays {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		present []string
		target  string // of the link; relative to the mount point
		want    string
	}{
		{"first", nil, "", "1"},
		{"after the live one", []string{"7"}, "7", "8"},
		{"the link is gone", []string{"7", "12"}, "", "13"},
		{"the link dangles", nil, "7", "8"},
		{"the link leads to something else", []string{"7"}, "../other", "8"},
		{"the link leads to no number", []string{"7", "x"}, "x", "8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t.TempDir(), &fake{})
			for _, name := range c.present {
				if err := os.MkdirAll(filepath.Join(cfg.MountPoint, name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if c.target != "" {
				if err := os.Symlink(filepath.Join(cfg.MountPoint, c.target), cfg.Link); err != nil {
					t.Fatal(err)
				}
			}
			if err := install(cfg, 0, oldFiles); err != nil {
				t.Fatal(err)
			}
			if target, _ := os.Readlink(cfg.Link); target != filepath.Join(cfg.MountPoint, c.want) {
				t.Errorf("the new generation is %s, want %s", target, c.want)
			}
		})
	}
}

func TestLock_waits(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), &fake{})
	first, err := Lock(t.Context(), c, func() { t.Error("the first one waits") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	waits := 0
	if _, err := Lock(ctx, c, func() { waits++ }); !errors.Is(err, context.DeadlineExceeded) || waits != 1 {
		t.Errorf("error %v after telling %d times", err, waits)
	}
	done := make(chan error)
	waiting := make(chan bool)
	go func() {
		second, err := Lock(context.Background(), c, func() { close(waiting) })
		if err == nil {
			err = second.Close()
		}
		done <- err
	}()
	<-waiting
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestParseNumber: a name that could not be followed by another number is none.
func TestParseNumber(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]uint64{
		"1": 1, "0": 0, "01": 0, "+1": 0, "-1": 0, "x": 0, "": 0,
		"18446744073709551614": math.MaxUint64 - 1, "18446744073709551615": 0, "18446744073709551616": 0,
	} {
		if got := parseNumber(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}
