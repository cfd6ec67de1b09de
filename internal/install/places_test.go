package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// check is what "-check-mode manifest" says of the manifest that the world ran last.
func (w *world) check(t *testing.T) error {
	t.Helper()
	_, err := Installer{Env: w.cli(), System: w, Resolve: w.resolve}.Run(t.Context(), Options{
		Manifest: w.path("manifest.json"), Check: CheckManifest,
	})
	return err
}

// TestInstall_reserved: a path that this program or NixOS uses gets no link, and check says so as
// the run does.
func TestInstall_reserved(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"DIR/secrets.d.lock":                    "it is the place of the lock of the secrets file system",
		"DIR/.secrets.sops-install-secrets":     "it is the place of the next link to the live secrets",
		"DIR/secrets.d/4":                       "it is the place of a generation",
		"DIR/secrets.d/.4.json":                 "it is the place of a generation",
		"DIR/secrets.d/.new.sops-x":             "it is the place of a generation",
		"/run/secrets-for-users":                "it is the place of the link to the live secrets",
		"/run/secrets-for-users.d":              "it is the place of the secrets file system",
		"/run/secrets-for-users.d/7/x":          "it is the place of a generation",
		"/run/secrets.d.lock":                   "it is the place of the lock of the secrets file system",
		"/run/secrets-for-users.d.lock":         "it is the place of the lock of the secrets file system",
		"/run":                                  "it is in the way of /run/secrets",
		"/run/nixos":                            "it is in the way of /run/nixos/activation-restart-list",
		"/run/nixos/activation-reload-list":     "it is the place of a list of NixOS's",
		"DIR/" + strings.Repeat("x", 256):       "has 256 bytes, more than the 255 that a file name can have",
		"DIR" + strings.Repeat("/"+"xyz", 1024): "more than the 4095 that a path can have",
	} {
		w := newWorld(t)
		w.values = map[string]string{"a": "1", "b": "1"}
		for range 2 { // what the first one did must not stop the second
			report, err := w.run(t, Options{}, `"secrets": [`+secretJSON("a", "a", `, "path": "`+path+`"`)+","+secretJSON("b", "b", "")+`]`)
			checked := w.check(t)
			for _, err := range []error{err, checked} {
				if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "DIR", w.dir)) {
					t.Errorf("%.80s: error %v, want %s", path, err, want)
				}
			}
			if diff := cmp.Diff(map[string]string{"a": "1", "b": "1"}, w.live(t)); diff != "" || report.Secrets[0].Cause == "" {
				t.Errorf("%.80s: %s", path, diff)
			}
		}
	}
}

// TestInstall_longNames: a name that no file can have is a fault of that secret alone.
func TestInstall_longNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{strings.Repeat("x", 256), "d/" + strings.Repeat("y", 300) + "/f", strings.Repeat("abc/", 1100) + "f"} {
		w := newWorld(t)
		w.values = map[string]string{"a": "1", "b": "1"}
		for range 2 {
			_, err := w.run(t, Options{}, `"secrets": [`+secretJSON(name, "a", "")+","+secretJSON("b", "b", "")+`]`)
			for _, err := range []error{err, w.check(t)} {
				if err == nil || !strings.Contains(err.Error(), " bytes, more than the ") {
					t.Errorf("error %v", err)
				}
			}
			if diff := cmp.Diff(map[string]string{"b": "1"}, w.live(t)); diff != "" {
				t.Error(diff)
			}
		}
	}
	exact := strings.Repeat("x", 255)
	w := newWorld(t)
	w.values = map[string]string{"a": "1"}
	if _, err := w.run(t, Options{}, `"secrets": [`+secretJSON(exact, "a", `, "path": "DIR/l/`+exact+`"`)+`]`); err != nil {
		t.Error(err)
	}
	if got := w.file("l/" + exact); got != "1" {
		t.Errorf("255 bytes: %q", got)
	}
}

// TestInstall_checkedMessages: what a message names does not depend on the order of a map.
func TestInstall_checkedMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.values = map[string]string{"a": "1"}
	seen := map[string]bool{}
	for range 30 {
		_, err := w.run(t, Options{}, `"secrets": [`+secretJSON("a/x", "a", "")+","+secretJSON("a/y", "a", "")+","+
			secretJSON("z", "a", `, "path": "DIR/secrets/a"`)+","+secretJSON("r", "a", `, "path": "DIR"`)+`]`)
		seen[fmt.Sprint(err)] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d different messages: %v", len(seen), seen)
	}
}

// TestInstall_container: an owner that a container has no number for is a fault of that secret
// alone; a group of the directories is another one.
func TestInstall_container(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.values = map[string]string{"a": "1", "b": "1"}
	w.cannot = map[uint32]bool{1000: true, 96: true, 4000000000: true}
	w.users["nogroup"] = 65534
	_, err := w.run(t, Options{}, `"secrets": [`+secretJSON("a", "a", `, "owner": "alice"`)+","+
		secretJSON("n", "a", `, "uid": 4000000000`)+","+secretJSON("b", "b", "")+`]`)
	for _, want := range []string{`secret "a": 1000:0 does not exist in this container`, `secret "n": 4000000000:0 does not`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"b": "1"}, w.live(t)); diff != "" {
		t.Error(diff)
	}
	if got := w.owners["/secrets.d"]; got != "0:65534" {
		t.Errorf("the mount point belongs to %s", got)
	}
}

// TestInstall_removedLinks: the link of what is not in the manifest any more, or is elsewhere
// now, is removed, if it still is ours.
func TestInstall_removedLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.values = map[string]string{"a": "1"}
	placed := func(name, path string) string { return secretJSON(name, "a", `, "path": "DIR/`+path+`"`) }
	run := func(list ...string) {
		t.Helper()
		if _, err := w.run(t, Options{}, `"secrets": [`+strings.Join(list, ",")+`]`); err != nil {
			t.Error(err)
		}
	}
	run(placed("a", "l/a"), placed("b", "l/b"), placed("c", "l/c"), placed("d", "l/d"))
	if err := errors.Join(os.Remove(w.path("l/c")), os.WriteFile(w.path("l/c"), []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	run(placed("a", "l/a2"), placed("renamed", "l/d")) // a is elsewhere, b and c are removed
	if diff := cmp.Diff([]string{"a2", "c", "d"}, entries(t, w.path("l"))); diff != "" {
		t.Error(diff)
	}
	if target, _ := os.Readlink(w.path("l/d")); target != w.path("secrets/renamed") || w.file("l/c") != "mine" {
		t.Errorf("d leads to %s, c is %q", target, w.file("l/c"))
	}

	// A run that is stopped before it removes the link leaves that to the next one.
	for n := 1; ; n++ {
		run(placed("a", "l/a"), placed("b", "l/b"))
		w.failAt, w.fault = n, unix.EIO
		_, err := w.run(t, Options{}, `"secrets": [`+placed("a", "l/a")+`]`)
		w.failAt = 0
		run(placed("a", "l/a"))
		if _, err := os.Lstat(w.path("l/b")); err == nil {
			t.Errorf("step %d: the link of b is left", n)
		}
		if err == nil {
			break
		}
	}
}

// TestInstall_signal sends a signal, as far as the program sees of it, at every step. The next
// run ends what was begun, and no restart is lost.
func TestInstall_signal(t *testing.T) {
	t.Parallel()
	newFiles := map[string]string{"a": "2", "alias": "2", "c": "2", "rendered/t": "<2>"}
	for n, done := 1, false; !done; n++ {
		w := newWorld(t)
		w.env["SOPS_RESTART_UNITS_VIA_SYSTEMCTL"] = "1"
		w.values = map[string]string{"a": "1", "b": "1"}
		if _, err := w.run(t, Options{}, oldManifest); err != nil {
			t.Fatal(err)
		}
		old := w.live(t)
		w.values = map[string]string{"a": "2", "b": "2"}
		ctx, cancel := context.WithCancel(t.Context())
		w.failAt, w.cancel = n, cancel
		_, err := w.runWith(ctx, t, Options{}, newManifest)
		done = len(w.steps) < n
		if !done && strings.HasPrefix(w.steps[n-1], "systemctl") && !errors.Is(err, context.Canceled) {
			t.Errorf("step %d (%s): error %v", n, w.steps[n-1], err)
		}
		if got := w.live(t); err == nil && !cmp.Equal(got, newFiles) || !cmp.Equal(got, newFiles) && !cmp.Equal(got, old) {
			t.Errorf("step %d: error %v, live is %v", n, err, got)
		}
		w.failAt, w.cancel = 0, nil
		if _, err := w.run(t, Options{}, newManifest); err != nil {
			t.Fatalf("the run after step %d: %v", n, err)
		}
		if diff := cmp.Diff(newFiles, w.live(t)); diff != "" {
			t.Errorf("the run after step %d: %s", n, diff)
		}
		if calls := w.file("systemctl"); !strings.Contains(calls, "r.service") {
			t.Errorf("step %d: the restart was lost: %q", n, calls)
		}
		if done && n < 30 {
			t.Errorf("only %d steps seen", n)
		}
		cancel()
	}
}

// A hundred thousand paths are checked in a second; with a cost that grows with the square it would
// be hours, which ends this test by its time limit.
func TestCheckPlaces_cost(t *testing.T) {
	t.Parallel()
	checkMany(t, manyPlaces(100_000))
}

func BenchmarkCheckPlaces(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		m := manyPlaces(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				checkMany(b, m)
			}
		})
	}
}

func manyPlaces(n int) *manifest.Manifest {
	m := &manifest.Manifest{SecretsMountPoint: "/run/secrets.d", SymlinkPath: "/run/secrets"}
	for i := range n {
		s := manifest.Secret{Source: manifest.Source{Name: fmt.Sprint("s", i)}}
		s.Path = filepath.Join("/run/secrets/in", fmt.Sprint(i))
		s.RestartUnits, s.ReloadUnits = []string{fmt.Sprint("r", i)}, []string{fmt.Sprint("r", i)}
		m.Secrets = append(m.Secrets, s)
	}
	return m
}

func checkMany(tb testing.TB, m *manifest.Manifest) {
	tb.Helper()
	p := &plan{manifest: m, items: items(m), current: &generation.Generation{}}
	p.checkPlaces()
	p.links()
	for _, it := range p.items {
		it.state = Changed
	}
	if jobs := p.affected().Jobs(); len(p.faults) > 0 || len(jobs) != 1 {
		tb.Fatal(p.faults, len(jobs))
	}
}
