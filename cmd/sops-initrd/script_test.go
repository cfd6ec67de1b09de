package main

import (
	"crypto/sha256"
	"errors"
	"flag"
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

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/remotekey"
)

var update = flag.Bool("update", false, "rewrite the golden outputs of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// TestScripts runs the program as its users do. Secrets are real sops files, made by the pinned
// sops. In every script,
//
//	exits N COMMAND…    runs a command and wants this exit status
//	snapshot PATH…      notes bytes, modes, inodes and times of all files below
//	unchanged           wants all of that as it was at the last snapshot
//	tmpfs DIR OPTIONS   mounts a tmpfs until the end of the script (root only)
//	expand FILE…        replaces $WORK in files, for the absolute paths in manifests
//	flip FILE OFFSET    changes one bit of the byte there; negative offsets count from the end
//	base FILE SIZE      makes a compressed archive that is no multiple of 4 bytes long, for a base
//
// $LOADERS has re-enactments, in shell, of what installers of boot loaders do.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	loaders, err := filepath.Abs("testdata/loaders")
	if err != nil {
		t.Fatal(err)
	}
	sops := tool(t, "sops")
	if err := os.Symlink(sops, filepath.Join(bin, "sops")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		WorkdirRoot:         t.TempDir(), // testscript's own stays where a script runs alone
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("AGE", testRecipient)
			e.Setenv("OTHER", otherRecipient)
			e.Setenv("LOADERS", loaders)
			e.Values[snapshotKey{}] = new(snapshot)
			return errors.Join(
				os.WriteFile(filepath.Join(e.WorkDir, "key.txt"), []byte(testIdentity+"\n"), 0o600),
				os.WriteFile(filepath.Join(e.WorkDir, "other.txt"), []byte(otherIdentity+"\n"), 0o600),
			)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "slim":
				return remotekey.Small, nil
			}
			if name, ok := strings.CutPrefix(cond, "tool:"); ok {
				return haveTool(name)
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "snapshot": takeSnapshot, "unchanged": unchanged, "tmpfs": tmpfs, "base": makeBase, "expand": expand, "flip": flip,
		},
	})
}

// tool builds a program that go.mod pins, or takes it from the build cache.
func tool(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", name).Output()
	if err == nil {
		err = exec.Command("go", "tool", name, "--version").Run() // -n alone does not build it
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("build %s: %v", name, err)
		}
		t.Skipf("needs %s from the module cache or the network: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// haveTool says whether a program is installed; in CI it must be.
func haveTool(name string) (bool, error) {
	_, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("%s is missing, and this is CI", name)
	}
	return err == nil, nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

type snapshotKey struct{}

// snapshot has a line for each file below its roots.
type snapshot struct {
	roots []string
	files map[string]string
}

func takeSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: snapshot PATH…")
	}
	s := ts.Value(snapshotKey{}).(*snapshot)
	s.roots = nil
	for _, a := range args {
		s.roots = append(s.roots, ts.MkAbs(a))
	}
	var err error
	s.files, err = look(s.roots)
	ts.Check(err)
	if len(s.files) == 0 {
		ts.Fatalf("nothing is there to note")
	}
}

func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(snapshotKey{}).(*snapshot)
	if neg || len(args) > 0 || s.files == nil {
		ts.Fatalf("usage: unchanged, after a snapshot")
	}
	now, err := look(s.roots)
	ts.Check(err)
	names := maps.Clone(s.files)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if s.files[name] != now[name] {
			ts.Fatalf("%s changed:\n  was %s\n  is  %s", name, s.files[name], now[name])
		}
	}
}

func look(roots []string) (map[string]string, error) {
	files := make(map[string]string)
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			line := fmt.Sprintf("%s inode %d, modified %s, %d bytes", info.Mode(), st.Ino,
				info.ModTime().Format("15:04:05.000000000"), info.Size())
			if info.Mode().IsRegular() {
				data, err := os.ReadFile(name)
				if err != nil && !errors.Is(err, fs.ErrPermission) {
					return err
				}
				line += fmt.Sprintf(", content %.8x", sha256.Sum256(data))
			}
			files[name] = line
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE…")
	}
	for _, a := range args {
		text := strings.ReplaceAll(ts.ReadFile(a), "$WORK", ts.Getenv("WORK"))
		ts.Check(os.WriteFile(ts.MkAbs(a), []byte(text), 0o600))
	}
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func tmpfs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tmpfs DIRECTORY OPTIONS")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	flags := uintptr(0)
	options := args[1]
	if rest, ok := strings.CutPrefix(options, "remount,ro"); ok {
		options, flags = strings.TrimPrefix(rest, ","), unix.MS_REMOUNT|unix.MS_RDONLY
	} else {
		ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	ts.Check(unix.Mount("tmpfs", dir, "tmpfs", flags, options))
}
