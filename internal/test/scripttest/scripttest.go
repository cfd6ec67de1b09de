// Package scripttest runs the txtar scripts of a program against its real main. It is imported by
// tests only.
//
// On top of testscript's own commands a script has
//
//	exits STATUS PROGRAM [ARG...]   run a program that must end with just this exit status
//	mode PERMISSIONS FILE           check the permission bits of a file, in octal
//	entries DIR [NAME...]           check that a directory has these entries and no others
package scripttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// Main is for TestMain: it makes programs callable in scripts under their names and runs the tests.
func Main(m *testing.M, programs map[string]func(cli.Env) int) {
	commands := map[string]func(){}
	for name, run := range programs {
		commands[name] = func() {
			os.Exit(run(cli.Env{
				Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
			}))
		}
	}
	testscript.Main(m, commands)
}

// Run runs the scripts in testdata.
func Run(t *testing.T, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true,
		WorkdirRoot:   t.TempDir(), // testscript's own stays where a script runs alone
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mode": mode, "entries": entries,
		},
	})
}

// Need skips a test when a program is not installed; where CI=true it fails instead.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s is %s, want %s", args[1], got, args[0])
	}
}

func entries(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: entries DIR [NAME...]")
	}
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	got := []string{}
	for _, e := range list {
		if e.Name() != ".tmp" { // testscript's own TMPDIR
			got = append(got, e.Name())
		}
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(want, got) {
		ts.Fatalf("entries of %s: %q, want %q", args[0], got, want)
	}
}
