package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/install"
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
	"github.com/sops-initrd/sops-initrd/internal/test/testns"
)

// crash is a machine on which installations are interrupted by strace, again and again.
type crash struct {
	dir string
	// before makes what is there when the run that is interrupted begins.
	before func(t *testing.T, c *crash)
	// old is what readers see then.
	old map[string]string
}

var newSet = map[string]string{
	"/run/secrets/a": "400 new-a", "/run/secrets/dir/b": "440 new-b", "/run/secrets/added": "400 new-a", "/run/secrets/rendered/t": "400 <new-a>",
}

// setUp writes two manifests, old.json and new.json, with real sops files.
func setUp(t *testing.T) *crash {
	t.Helper()
	c := &crash{dir: t.TempDir()}
	if err := os.WriteFile(c.path("age.txt"), testkeys.Data(t, testkeys.Age), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, age := range []string{"old", "new"} {
		cmd := exec.Command(os.Getenv(sopsPath), "encrypt", "--age", testkeys.Public(t, testkeys.Age), "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin")
		cmd.Stdin = strings.NewReader("a: " + age + "-a\nb: " + age + "-b\n")
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(age+".yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		added := ""
		if age == "new" {
			added = `, {"name": "added", "key": "a", "sopsFile": "$DIR/new.yaml", "mode": "0400"}`
		}
		text = []byte(strings.NewReplacer("$DIR", c.dir, "$AGE", age).Replace(`{"secrets": [
			{"name": "a", "key": "a", "path": "/run/links/a", "sopsFile": "$DIR/$AGE.yaml", "mode": "0400", "restartUnits": ["a.service"]},
			{"name": "dir/b", "key": "b", "sopsFile": "$DIR/$AGE.yaml", "mode": "0440", "owner": "someuser", "group": "somegroup"}` + strings.ReplaceAll(added, "$DIR", c.dir) + `],
			"templates": [{"name": "t", "content": "<<A>>", "mode": "0400"}], "placeholderBySecretName": {"a": "<A>"},
			"keepGenerations": 1, "ageKeyFile": "$DIR/age.txt", "secretsMountPoint": "/run/secrets.d", "symlinkPath": "/run/secrets"}`))
		if err := os.WriteFile(c.path(age+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *crash) path(name string) string { return filepath.Join(c.dir, name) }

// afterGeneration begins with an installed generation.
func afterGeneration(t *testing.T, c *crash) {
	t.Helper()
	if out, err := exec.Command(install.Program, c.path("old.json")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// afterStage1 begins with what stage 1 of the boot leaves.
func afterStage1(t *testing.T, _ *crash) {
	t.Helper()
	if err := os.MkdirAll("/run/secrets/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "stage1-a", "dir/b": "stage1-b"} {
		if err := os.WriteFile("/run/secrets/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reset makes the machine as it was before.
func (c *crash) reset(t *testing.T) {
	t.Helper()
	for unix.Unmount("/run/secrets.d", unix.MNT_DETACH) == nil {
	}
	entries, err := os.ReadDir("/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll("/run/" + e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("/run/nixos", 0o755); err != nil {
		t.Fatal(err)
	}
	c.before(t, c)
	c.old = live(t)
}

// live has mode and content of everything behind /run/secrets.
func live(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("/run/secrets/", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%o %s", info.Mode().Perm(), data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	return files
}

// injection runs an installation with one injection of strace and checks what is left. It returns
// false if the injection did not happen, since there are not so many calls.
func (c *crash) injection(t *testing.T, inject string) bool {
	t.Helper()
	c.reset(t)
	trace := c.path("trace")
	cmd := exec.Command("strace", "-f", "-qq", "-o", trace, "-e", "trace=all", "-e", "signal=SIGTERM", "-e", "inject="+inject, install.Program, c.path("new.json"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	text, _ := os.ReadFile(trace)
	happened := bytes.Contains(text, []byte("(INJECTED)")) || bytes.Contains(text, []byte("--- SIGTERM"))
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		happened = true // strace ends as its child did
	}

	now := live(t)
	if !cmp.Equal(now, c.old) && !cmp.Equal(now, newSet) {
		t.Errorf("%s: neither the old nor the new secrets are live: %v", inject, now)
	}
	if err == nil && !cmp.Equal(now, newSet) {
		t.Errorf("%s: exit status 0, but live is %v", inject, now)
	}
	told := strings.Contains(stderr.String(), "restart or reload by hand")
	c.checkRepaired(t, inject, told)
	return happened
}

// checkRepaired runs the installation again, uninterrupted: it must end what was begun.
func (c *crash) checkRepaired(t *testing.T, inject string, told bool) {
	t.Helper()
	out, err := exec.Command(install.Program, c.path("new.json")).CombinedOutput()
	if err != nil {
		t.Errorf("%s: the next run: %v\n%s", inject, err, out)
	}
	if diff := cmp.Diff(newSet, live(t)); diff != "" {
		t.Errorf("%s: after the next run: %s", inject, diff)
	}
	if got, want := list(t, "/run"), "links nixos secrets secrets.d secrets.d.lock"; got != want {
		t.Errorf("%s: left in /run: %s", inject, got)
	}
	target, _ := os.Readlink("/run/secrets")
	number := filepath.Base(target)
	if got, want := list(t, "/run/secrets.d"), "."+number+".json "+number; got != want {
		t.Errorf("%s: left in /run/secrets.d: %s", inject, got)
	}
	if got := list(t, "/run/links"); got != "a" {
		t.Errorf("%s: left in /run/links: %s", inject, got)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if n := strings.Count(string(mounts), " /run/secrets.d "); err != nil || n != 1 {
		t.Errorf("%s: mounted %d times (%v)", inject, n, err)
	}
	restarts, _ := os.ReadFile("/run/nixos/activation-restart-list")
	_, hadGeneration := c.old["/run/secrets/rendered/t"]
	if hadGeneration && !told && !strings.Contains(string(restarts), "a.service") {
		t.Errorf("%s: the restart was lost", inject)
	}
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// inCrashTest says whether the test goes on, in namespaces.
func inCrashTest(t *testing.T) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
	scripttest.Need(t, "strace")
	testns.Need(t)
	if os.Getenv(sopsPath) != "" {
		return testns.Inside(t)
	}
	return testns.Inside(t, sopsPath+"="+testkeys.SOPS(t))
}

// TestCrash_killed kills the program at system calls on files all over its run. strace counts the
// calls of each thread. VMTESTS_ALL=1 takes every call instead of some.
func TestCrash_killed(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*testing.T, *crash){"generation": afterGeneration, "stage 1": afterStage1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !inCrashTest(t) {
				return
			}
			c := setUp(t)
			c.before = before
			stride := 7
			if os.Getenv("VMTESTS_ALL") != "" {
				stride = 1
			}
			if n := c.sweep(t, "%file,%desc:signal=KILL", stride); n < 60 {
				t.Errorf("only %d system calls seen", n)
			}
		})
	}
}

// changing are the system calls that change something; the file system's own first.
var changing = []string{
	"mkdirat", "write", "fchmod", "fchownat", "renameat", "renameat2", "symlinkat", "unlinkat", "utimensat",
	"flock", "fsopen", "fsconfig", "fsmount", "move_mount",
}

// TestCrash_failing kills the program at each call that changes something, asks it there to end,
// and lets the call fail: with one error of four, with VMTESTS_ALL=1 with each of them.
func TestCrash_failing(t *testing.T) {
	t.Parallel()
	for i, what := range []string{"error=ENOSPC", "error=EIO", "error=EMFILE", "error=EACCES", "signal=KILL", "signal=TERM"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if !inCrashTest(t) {
				return
			}
			c := setUp(t)
			c.before = afterGeneration
			if i%2 == 1 {
				c.before = afterStage1
			}
			total := 0
			every := os.Getenv("VMTESTS_ALL") != "" || strings.HasPrefix(what, "signal=")
			for j, call := range changing {
				if every || j%4 == i {
					total += c.sweep(t, call+":"+what, 1)
				}
			}
			if total < 5 {
				t.Errorf("only %d calls seen", total)
			}
		})
	}
}

// sweep injects at every stride-th call and returns the number of the last one at which something
// happened.
func (c *crash) sweep(t *testing.T, inject string, stride int) int {
	t.Helper()
	n := 1
	for c.injection(t, fmt.Sprintf("%s:when=%d", inject, n)) {
		n += stride
	}
	return n - stride
}
