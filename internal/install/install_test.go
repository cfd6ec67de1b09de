package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// world is a machine in a directory: no mounts, owners and calls of systemctl are written down.
type world struct {
	dir    string
	values map[string]string // of secrets; one that is not there cannot be decrypted
	users  map[string]uint32 // and groups
	cannot map[uint32]bool   // own files
	env    map[string]string
	failAt int // step, from 1
	fault  error
	kill   bool
	cancel func() // instead of the fault, a signal

	steps          []string
	owners         map[string]string
	stdout, stderr bytes.Buffer
}

func newWorld(t *testing.T) *world {
	return &world{dir: t.TempDir(), values: map[string]string{}, users: map[string]uint32{"root": 0, "alice": 1000, "keys": 96}, env: map[string]string{}, owners: map[string]string{}}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) Mount(string, bool, func(*os.Root) error) error { return nil }

func (w *world) Chown(f *os.File, uid, gid uint32) error {
	w.owners[strings.TrimPrefix(filepath.Clean(f.Name()), w.dir)] = fmt.Sprintf("%d:%d", uid, gid)
	return nil
}

func (w *world) Step(op, path string) error {
	w.steps = append(w.steps, op+" "+path)
	if len(w.steps) != w.failAt {
		return nil
	}
	if w.cancel != nil {
		w.cancel()
		return nil
	}
	if w.kill {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return w.fault
}

func (w *world) User(_ context.Context, name string) (uint32, error) {
	if id, ok := w.users[name]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("unknown user %q", name)
}

func (w *world) Group(_ context.Context, name string) (uint32, error) {
	if id, ok := w.users[name]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("unknown group %q", name)
}

func (w *world) CanOwn(uid, gid uint32) error {
	if w.cannot[uid] || w.cannot[gid] {
		return fmt.Errorf("%d:%d does not exist in this container", uid, gid)
	}
	return nil
}

// Systemctl appends to a file, which survives a kill.
func (w *world) Systemctl(ctx context.Context, _ string, args ...string) error {
	if err := errors.Join(w.Step("systemctl", strings.Join(args, " ")), ctx.Err()); err != nil {
		return err
	}
	f, err := os.OpenFile(w.path("systemctl"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.Join(args, " "))
	return err
}

// resolve has the values of the world; a template is its content with "$name" for the secrets.
func (w *world) resolve(_ context.Context, req resolve.Request) *resolve.Result {
	r := &resolve.Result{Secrets: map[string]resolve.Value{}, Templates: map[string]resolve.Value{}}
	for _, s := range req.Secrets {
		if v, ok := w.values[s.Key]; ok {
			r.Secrets[s.Name] = resolve.Value{Data: []byte(v)}
		} else {
			r.Secrets[s.Name] = resolve.Value{Err: fmt.Errorf("secret %q: no key fits", s.Name)}
		}
	}
	for _, t := range req.Templates {
		text, value := t.Content, resolve.Value{}
		for name, v := range r.Secrets {
			if strings.Contains(text, "$"+name) && v.Err != nil {
				value.Err = fmt.Errorf("template %q: secret %q is missing", t.Name, name)
			}
			text = strings.ReplaceAll(text, "$"+name, string(v.Data))
		}
		if value.Err == nil {
			value.Data = []byte(text)
		}
		r.Templates[t.Name] = value
	}
	return r
}

// run installs a manifest, given without the fields that are always the same.
func (w *world) run(t *testing.T, o Options, fields string) (*Report, error) {
	t.Helper()
	return w.runWith(t.Context(), t, o, fields)
}

func (w *world) cli() cli.Env {
	return cli.Env{Stdout: &w.stdout, Stderr: &w.stderr, Getenv: func(name string) string { return w.env[name] }}
}

func (w *world) runWith(ctx context.Context, t *testing.T, o Options, fields string) (*Report, error) {
	t.Helper()
	o.Manifest = w.path("manifest.json")
	text := fmt.Sprintf(`{"secretsMountPoint": %q, "symlinkPath": %q, "keepGenerations": 1, "logging": {"secretChanges": true}, %s}`,
		w.path("secrets.d"), w.path("secrets"), strings.ReplaceAll(fields, "DIR", w.dir))
	if err := os.WriteFile(o.Manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(w.path("nixos"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.steps = nil
	w.stdout.Reset()
	w.stderr.Reset()
	in := Installer{Env: w.cli(), System: w, Resolve: w.resolve, ActivationDir: w.path("nixos")}
	report, err := in.Run(ctx, o)
	if report != nil {
		w.stdout.WriteString(report.Text())
	}
	return report, err
}

// live has all files behind the link, with their content.
func (w *world) live(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(w.path("secrets")), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(w.path("secrets/" + name))
		files[name] = string(data)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (w *world) file(name string) string {
	data, _ := os.ReadFile(w.path(name))
	return string(data)
}

func secretJSON(name, key, more string) string {
	return fmt.Sprintf(`{"name": %q, "key": %q, "sopsFile": "/f.yaml", "mode": "0400" %s}`, name, key, more)
}

func statuses(outcomes []Outcome) map[string]string {
	got := map[string]string{}
	for _, o := range outcomes {
		got[o.Name] = fmt.Sprintf("%s %d", o.Status, o.Generation)
	}
	return got
}

func TestInstall_partial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.values = map[string]string{"a": "1", "b": "1", "c": "1"}
	both := `"secrets": [` + secretJSON("a", "a", "") + "," + secretJSON("b", "b", "") + `],
		"templates": [{"name": "t", "content": "<$a$b>", "mode": "0440"}], "placeholderBySecretName": {"a": "$a", "b": "$b"}`
	if _, err := w.run(t, Options{}, both); err != nil {
		t.Fatal(err)
	}

	w.values = map[string]string{"a": "2", "c": "2"} // b cannot be decrypted
	report, err := w.run(t, Options{}, both)
	if diff := cmp.Diff(map[string]string{"a": "2", "b": "1", "rendered/t": "<11>"}, w.live(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "changed 2", "b": "kept 1"}, statuses(report.Secrets)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"t": "kept 1"}, statuses(report.Templates)); diff != "" {
		t.Error(diff)
	}
	if got := printed(err); got != `error: secret "b": no key fits
error: template "t": secret "b" is missing
hint: kept from generation 1: secret "b", template "t"
` {
		t.Error(got)
	}

	t.Run("definition changed", func(t *testing.T) {
		_, err := w.run(t, Options{}, `"secrets": [`+secretJSON("b", "b/new", `, "owner": "alice"`)+`]`)
		if diff := cmp.Diff(map[string]string{"b": "1"}, w.live(t)); diff != "" {
			t.Error(diff)
		}
		if got := printed(err); got != `error: secret "b": no key fits
hint: kept from generation 2: secret "b"
hint: the file kept for secret "b" has the value of an older definition (generation 1): key was "b", owner was "0"
` {
			t.Error(got)
		}
		if got := w.owners["/secrets.d/.new.sops-install-secrets/b"]; got != fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid()) {
			t.Errorf("the kept file belongs to %s", got)
		}
	})
	t.Run("unknown owner", func(t *testing.T) {
		report, err := w.run(t, Options{}, `"secrets": [`+secretJSON("b", "c", `, "owner": "nobody-at-all", "group": "none"`)+","+secretJSON("new", "c", `, "owner": "who"`)+","+secretJSON("c", "c", `, "owner": "alice"`)+`]`)
		if diff := cmp.Diff(map[string]string{"b": "1", "c": "2"}, w.live(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]string{"b": "kept 1", "new": "failed 0", "c": "changed 4"}, statuses(report.Secrets)); diff != "" {
			t.Error(diff)
		}
		if got := printed(err); !strings.HasPrefix(got, `error: secret "b": unknown user "nobody-at-all"
error: secret "b": unknown group "none"
error: secret "new": unknown user "who"
hint: kept from generation 3: secret "b"
`) {
			t.Error(got)
		}
		if got := w.owners["/secrets.d/.new.sops-install-secrets/c"]; got != "1000:0" {
			t.Errorf("c belongs to %s", got)
		}
	})
	t.Run("strict", func(t *testing.T) {
		before := w.live(t)
		report, err := w.run(t, Options{Strict: true}, `"secrets": [`+secretJSON("b", "missing", "")+","+secretJSON("c", "a", "")+","+secretJSON("d", "a", "")+`]`)
		if diff := cmp.Diff(before, w.live(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]string{"b": "kept 1", "c": "kept 4", "d": "failed 0"}, statuses(report.Secrets)); diff != "" {
			t.Error(diff)
		}
		if got := printed(err); got != `error: secret "b": no key fits
hint: the secrets of generation 4 stay in place
` {
			t.Error(got)
		}
		if w.stdout.Len() != 0 {
			t.Errorf("stdout: %s", w.stdout.String())
		}
		if report.Secrets[1].Cause == "" || report.Generation != 4 {
			t.Errorf("report: %+v", report)
		}
	})
}

// printed is what the program prints for an error.
func printed(err error) string {
	var out bytes.Buffer
	cli.Report(cli.Env{Stderr: &out}, "p", err)
	return strings.ReplaceAll(out.String(), "p: ", "")
}

func TestInstall_units(t *testing.T) {
	t.Parallel()
	const units = `, "restartUnits": ["r.service"], "reloadUnits": ["l.service"]`
	manifest := func(more string) string { return `"secrets": [` + secretJSON("a", "a", units) + more + `]` }
	for _, viaSystemctl := range []bool{false, true} {
		t.Run(fmt.Sprint("systemctl ", viaSystemctl), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if viaSystemctl {
				w.env["SOPS_RESTART_UNITS_VIA_SYSTEMCTL"] = "1"
			}
			w.values = map[string]string{"a": "1"}
			told := func(t *testing.T, want ...string) {
				t.Helper()
				lists := w.path("nixos/activation-restart-list")
				got := strings.Fields(w.file("nixos/activation-restart-list") + w.file("nixos/activation-reload-list"))
				if viaSystemctl {
					got = nil
					for line := range strings.Lines(w.file("systemctl")) {
						got = append(got, strings.Fields(line)[3:]...)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
				for _, f := range []string{lists, w.path("nixos/activation-reload-list"), w.path("systemctl")} {
					_ = os.Remove(f)
				}
			}
			step := func(name string, prepare func(), more string, want ...string) {
				prepare()
				if _, err := w.run(t, Options{}, manifest(more)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				told(t, want...)
			}
			step("no generation before", func() {}, "")
			step("unchanged", func() {}, "")
			step("changed", func() { w.values["a"] = "2" }, "", "r.service", "l.service")
			step("another one added, without units", func() { w.values["b"] = "2" }, ","+secretJSON("b", "b", ""))
			step("gone and back", func() { _ = os.Remove(w.path("secrets/a")) }, "", "r.service", "l.service")
			step("a directory was there", func() {
				_ = os.Remove(w.path("secrets/a"))
				_ = os.Mkdir(w.path("secrets/a"), 0o755)
			}, "", "r.service", "l.service")
			delete(w.values, "a")
			if _, err := w.run(t, Options{}, manifest("")); err == nil {
				t.Error("no error")
			}
			told(t) // it is kept
		})
	}
}

func TestInstall_dry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["NIXOS_ACTION"] = "dry-activate"
	w.values = map[string]string{"a": "1", "b": "1"}
	manifest := `"secrets": [` + secretJSON("a", "a", `, "owner": "comes-later", "restartUnits": ["r.service"]`) + "," + secretJSON("b", "b", `, "reloadUnits": ["l.service"]`) + `]`
	if _, err := w.run(t, Options{}, manifest); err != nil {
		t.Fatal(err)
	}
	if names := entries(t, w.dir); !slices.Equal(names, []string{"manifest.json", "nixos"}) {
		t.Errorf("made %v", names)
	}
	delete(w.env, "NIXOS_ACTION")
	w.users["comes-later"] = 7
	if _, err := w.run(t, Options{}, manifest); err != nil {
		t.Fatal(err)
	}
	w.env["NIXOS_ACTION"] = "dry-activate"
	w.values = map[string]string{"a": "2", "c": "1"}
	before := snapshot(t, w.dir)
	report, err := w.run(t, Options{}, `"secrets": [`+secretJSON("a", "a", `, "restartUnits": ["r.service"]`)+","+secretJSON("c", "c", `, "reloadUnits": ["l.service"]`)+`]`)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.stdout.String(); got != "would add secret: c\nwould modify secret: a\nwould remove secret: b\n" {
		t.Error(got)
	}
	if !report.DryRun || report.Generation != 1 {
		t.Errorf("%+v", report)
	}
	after := snapshot(t, w.dir)
	delete(before, "manifest.json")
	delete(after, "manifest.json")
	if after["nixos/dry-activation-restart-list"] != "r.service\n" || after["nixos/dry-activation-reload-list"] != "l.service\n" {
		t.Errorf("lists: %v", after)
	}
	maps.DeleteFunc(after, func(name, _ string) bool { return strings.HasPrefix(name, "nixos/") })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if len(w.steps) != 0 {
		t.Errorf("steps: %q", w.steps)
	}
	t.Run("systemctl", func(t *testing.T) {
		w.env["SOPS_RESTART_UNITS_VIA_SYSTEMCTL"] = "1"
		w.values = map[string]string{"a": "2", "b": "2"}
		if _, err := w.run(t, Options{}, manifest); err != nil {
			t.Fatal(err)
		}
		if got := w.stderr.String(); got != "would restart r.service\nwould reload l.service\n" || w.file("systemctl") != "" {
			t.Errorf("stderr %q, systemctl %q", got, w.file("systemctl"))
		}
	})
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// snapshot has the content of all files and links below dir.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.Type() == fs.ModeSymlink:
			all[name], err = os.Readlink(path)
		case e.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			all[name] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const (
	oldManifest = `"secrets": [{"name": "a", "key": "a", "sopsFile": "/f.yaml", "mode": "0400", "path": "DIR/links/a", "restartUnits": ["r.service"]},
		{"name": "d/b", "key": "b", "sopsFile": "/f.yaml", "mode": "0400"}]`
	newManifest = `"secrets": [{"name": "a", "key": "a", "sopsFile": "/f.yaml", "mode": "0400", "path": "DIR/links/a", "restartUnits": ["r.service"]},
		{"name": "c", "key": "b", "sopsFile": "/f.yaml", "mode": "0400", "path": "DIR/secrets/alias"}],
		"templates": [{"name": "t", "content": "<$a>", "mode": "0440"}], "placeholderBySecretName": {"a": "$a"}`
)

// TestInstall_interrupted fails or kills a run at every change it makes, the calls of systemctl
// included. The old generation is live and whole then, or the new one; the next run ends what was
// begun, and no restart is lost.
func TestInstall_interrupted(t *testing.T) {
	if dir := os.Getenv("INSTALL_DIR"); dir != "" {
		n, _ := strconv.Atoi(os.Getenv("INSTALL_KILL_AT"))
		w := newWorld(t)
		w.dir, w.failAt, w.kill = dir, n, true
		w.values = map[string]string{"a": "2", "b": "2"}
		w.env["SOPS_RESTART_UNITS_VIA_SYSTEMCTL"] = "1"
		if _, err := w.run(t, Options{}, newManifest); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	oldFiles := map[string]string{"a": "1", "d/b": "1"}
	newFiles := map[string]string{"a": "2", "alias": "2", "c": "2", "rendered/t": "<2>"}
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("kill ", kill), func(t *testing.T) {
			t.Parallel()
			for n, done := 1, false; !done; n++ {
				w := newWorld(t)
				w.env["SOPS_RESTART_UNITS_VIA_SYSTEMCTL"] = "1"
				w.values = map[string]string{"a": "1", "b": "1"}
				if _, err := w.run(t, Options{}, oldManifest); err != nil {
					t.Fatal(err)
				}
				w.values = map[string]string{"a": "2", "b": "2"}
				if kill {
					done = killed(t, w.dir, n)
				} else {
					done = failing(t, w, n)
				}
				if got := w.live(t); !cmp.Equal(got, oldFiles) && !cmp.Equal(got, newFiles) {
					t.Fatalf("stopped at step %d: live is neither old nor new: %v", n, got)
				}
				w.failAt = 0
				if _, err := w.run(t, Options{}, newManifest); err != nil {
					t.Fatalf("the run after step %d: %v", n, err)
				}
				if diff := cmp.Diff(newFiles, w.live(t)); diff != "" {
					t.Errorf("the run after step %d: %s", n, diff)
				}
				// A failing systemctl is an error of that run and not tried again.
				if calls := w.file("systemctl"); !strings.HasPrefix(calls, "--no-block try-restart -- r.service\n") && !strings.HasPrefix(w.lastStep(), "systemctl") {
					t.Errorf("the run after step %d: systemctl was called with %q", n, calls)
				}
				if done && n < 30 {
					t.Errorf("only %d steps seen", n)
				}
			}
		})
	}
}

// lastStep is the one that failed, kept over the next run.
func (w *world) lastStep() string { return w.env["last step"] }

func failing(t *testing.T, w *world, n int) bool {
	t.Helper()
	w.failAt, w.fault = n, syscall.EIO
	_, err := w.run(t, Options{}, newManifest)
	if len(w.steps) < n {
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	w.env["last step"] = w.steps[n-1]
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("step %d (%s): error %v", n, w.steps[n-1], err)
	}
	return false
}

func killed(t *testing.T, dir string, n int) bool {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestInstall_interrupted$")
	// What the killed process leaves behind goes with this test's directory.
	child.Env = append(os.Environ(), "INSTALL_KILL_AT="+strconv.Itoa(n), "INSTALL_DIR="+dir,
		"TMPDIR="+t.TempDir())
	out, err := child.CombinedOutput()
	if err == nil {
		return true
	}
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: %v\n%s", n, err, out)
	}
	return false
}

func TestInstall_paths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"DIR/links/deep/x":      "",
		"DIR/secrets/a":         "", // its own
		"DIR/secrets/other/x":   "",
		"DIR/secrets.d/x":       "",
		"DIR/secrets":           "it is the place of the link to the live secrets",
		"DIR":                   "it is in the way of DIR/secrets",
		"DIR/secrets.d":         "it is the place of the secrets file system",
		"DIR/secrets.d/3/x":     "it is the place of a generation",
		"DIR/secrets.d/.3.json": "it is the place of a generation",
		"DIR/secrets/b":         `it is the path of secret "b", too`,
		"DIR/secrets/b/x":       `it is in the way of secret "b"`,
		"DIR/secrets/d":         `it is in the way of secret "d/c"`,
		"DIR/taken":             `it is the path of secret "b", too`,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.values = map[string]string{"a": "1", "b": "1", "c": "1"}
			bPath := ""
			if strings.HasSuffix(path, "taken") {
				bPath = `, "path": "DIR/taken"`
			}
			report, err := w.run(t, Options{}, `"secrets": [`+secretJSON("b", "b", bPath)+","+secretJSON("d/c", "c", "")+","+secretJSON("a", "a", `, "path": "`+path+`"`)+`]`)
			real := strings.ReplaceAll(path, "DIR", w.dir)
			if want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(real); err != nil || string(got) != "1" {
					t.Errorf("%q %v", got, err)
				}
				return
			}
			want = strings.ReplaceAll(fmt.Sprintf("secret \"a\": link %s: %s", path, want), "DIR", w.dir)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
			files := w.live(t)
			if files["a"] != "1" || files["b"] != "1" || files["d/c"] != "1" {
				t.Errorf("live: %v", files)
			}
			if cause := report.Secrets[2].Cause; cause != want {
				t.Errorf("cause %q", cause)
			}
		})
	}
}

func TestInstall_groups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		users map[string]uint32
		want  string
		warns bool
	}{
		{map[string]uint32{"keys": 96, "nogroup": 65534}, "0:96", false},
		{map[string]uint32{"nogroup": 65534}, "0:65534", false},
		{map[string]uint32{}, "0:0", true},
	} {
		w := newWorld(t)
		w.users = c.users
		if _, err := w.run(t, Options{}, `"secrets": []`); err != nil {
			t.Fatal(err)
		}
		if got := w.owners["/secrets.d"]; got != c.want {
			t.Errorf("the mount point belongs to %s, want %s", got, c.want)
		}
		if got := w.owners["/secrets.d/.new.sops-install-secrets"]; got != c.want {
			t.Errorf("the generation belongs to %s, want %s", got, c.want)
		}
		if warned := strings.Contains(w.stderr.String(), `neither group "keys" nor group "nogroup" exists`); warned != c.warns {
			t.Errorf("stderr: %s", w.stderr.String())
		}
	}
}

func TestReport_text(t *testing.T) {
	t.Parallel()
	r := &Report{
		Secrets:   []Outcome{{Name: "z", Status: Changed, added: true}, {Name: "m", Status: Changed}, {Name: "a", Status: Changed, added: true}, {Name: "k", Status: Kept}, {Name: "u", Status: Unchanged}, {Name: "f", Status: Failed}},
		Templates: []Outcome{{Name: "t", Status: Changed}},
		Removed:   []string{"gone", "rendered/y", "rendered/x"},
	}
	want := `adding secrets: a, z
modifying secret: m
removing secret: gone
modifying rendered secret: t
removing rendered secrets: x, y
`
	if diff := cmp.Diff(want, r.Text()); diff != "" {
		t.Error(diff)
	}
}

func TestReport_json(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.values = map[string]string{"a": "the value"}
	report, err := w.run(t, Options{}, `"secrets": [`+secretJSON("a", "a", `, "restartUnits": ["u"]`)+","+secretJSON("b", "b", "")+`]`)
	if err == nil {
		t.Error("no error")
	}
	out := report.JSON()
	if strings.Contains(out, "the value") {
		t.Error("a value was printed")
	}
	var got any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"generation": 1.0, "previous": 0.0, "dryRun": false, "templates": []any{}, "removed": []any{}, "units": map[string]any{"restart": []any{}, "reload": []any{}},
		"secrets": []any{
			map[string]any{"name": "a", "sopsFile": "/f.yaml", "key": "a", "path": w.path("secrets/a"), "generation": 1.0, "status": "changed"},
			map[string]any{"name": "b", "sopsFile": "/f.yaml", "key": "b", "path": w.path("secrets/b"), "generation": 0.0, "status": "failed", "cause": `secret "b": no key fits`},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
