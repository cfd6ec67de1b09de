package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func TestRun_usage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-help"}, cli.Done, "usage: bench"},
		{nil, cli.Misuse, "-build"},
		{[]string{"-build", "x", "operand"}, cli.Misuse, "no operands"},
		{[]string{"-build", "x", "-run", "("}, cli.Misuse, "missing closing )"},
		{[]string{"-build", "x", "-runs", "0"}, cli.Misuse, "at least one run"},
	} {
		var out bytes.Buffer
		got := run(cli.Env{
			Args: c.args, Stdout: &out, Stderr: &out,
			Getenv: func(string) string { return "" },
		})
		if got != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: status %d, want %d with %q: %s", c.args, got, c.status, c.want, &out)
		}
	}
}

func TestCommand_countsBytes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 1e6), 0o600); err != nil {
		t.Fatal(err)
	}
	// Counters are of the whole process, so that tests which run beside this one add to them: nothing
	// but bounds can be tested.
	got, err := command{argv: []string{"dd", "if=" + file, "of=" + file + ".copy", "bs=1M"}}.run(
		time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got.Read < 1e6 || got.Written < 1e6 || got.Wall <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestCommand_failures(t *testing.T) {
	t.Parallel()
	start := time.Now()
	if _, err := (command{argv: []string{"sh", "-c", "sleep 60 & sleep 60"}}).run(
		100 * time.Millisecond); !errors.Is(err, errTooLong) {
		t.Errorf("too long: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("stopped after %v only", took)
	}
	_, err := command{argv: []string{"sh", "-c", "echo the reason >&2; exit 3"}}.run(time.Minute)
	if err == nil || !strings.Contains(err.Error(), "the reason") ||
		!strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("status 3: %v", err)
	}
}

func TestCommand_account(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"strace", "time"} {
		if _, err := exec.LookPath(name); err != nil {
			testkeys.Missing(t, name+" is not installed")
		}
	}
	const size = 64 << 20
	got, err := command{argv: []string{
		"sh", "-c",
		"true; dd if=/dev/zero of=/dev/null bs=64M count=1; nice true; /nonexistent || :",
	}}.account(
		t.TempDir(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	const started = 3 // dd, nice, true; the first true is the shell's own
	if got.Programs != started || got.Peak < size || got.Peak > 2*size {
		t.Errorf("%d programs, peak %d MiB; want %d programs, peak of 64 MiB or a little more",
			got.Programs, got.Peak>>20, started)
	}
}

func TestFixture_isThereWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	f := &fixture{dir: t.TempDir()}
	broken := errors.New("broken")
	_, err := f.make("a/b", func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("half"), 0o600), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	made := 0
	for range 2 {
		path, err := f.make("a/b", func(path string) error {
			made++
			return os.WriteFile(path, []byte("whole"), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != "whole" {
			t.Errorf("%q, %v", data, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

func TestWork_check(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := work{
		secrets:   []wanted{{name: "a", value: []byte("1")}, {name: "b", value: []byte("2")}},
		templates: 2,
	}
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "1")
	put("rendered/config", "a = \"1\"\nb = \"2\"\n")
	if w.check(dir) == nil {
		t.Error("a missing secret is not seen")
	}
	put("b", "3")
	if w.check(dir) == nil {
		t.Error("a wrong value is not seen")
	}
	put("b", "2")
	if err := w.check(dir); err != nil {
		t.Error(err)
	}
	put("rendered/config", "a = \"1\"\n")
	if w.check(dir) == nil {
		t.Error("a wrong template is not seen")
	}
}

func seconds(all ...float64) (costs []cost) {
	for _, s := range all {
		costs = append(costs, cost{Wall: time.Duration(s * float64(time.Second)), Written: int64(s)})
	}
	return costs
}

func TestRow_ratioIsOfTurns(t *testing.T) {
	t.Parallel()
	ours := row{Runs: seconds(1, 2, 30, 4)}
	theirs := row{Runs: seconds(2, 4, 60)}
	if got := ours.ratio(theirs, wall); got != 0.5 {
		t.Errorf("ratio %v", got)
	}
	if got := ours.median(wall); got != 3 {
		t.Errorf("median %v", got)
	}
}

func TestAims(t *testing.T) {
	t.Parallel()
	of := func(name string, rows ...row) result { return result{Name: name, Rows: rows} }
	results := []result{
		of("age-1", row{Tool: rowSlim, Runs: seconds(1), Account: account{Peak: 10}},
			row{Tool: rowAgainst, Runs: seconds(4), Account: account{Peak: 15}}),
		of("age-1000", row{Tool: rowSlim, Runs: seconds(1)},
			row{Tool: rowAgainst, TooLong: 1000 * time.Second}),
		of("append-60M-unchanged", row{Tool: rowSlim, Runs: seconds(8)}),
	}
	var page bytes.Buffer
	writeAims(&page, results)
	for _, want := range []string{
		"| 1 secret: wall time, of BENCH_AGAINST's | 0.5 | 0.25 | held |",
		"| 1 secret: peak memory, of BENCH_AGAINST's | 0.5 | 0.667 | **missed** |",
		"| 1000 secrets of one file: wall time, of BENCH_AGAINST's | 0.002 | 0.001 | held |",
		"| unchanged image of 60 MB: bytes written | 0 | 8 | **missed** |",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no line %s in\n%s", want, &page)
		}
	}
	if strings.Contains(page.String(), "PGP") {
		t.Errorf("an aim of a case that was not measured:\n%s", &page)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	for range 2 { // the markers stay
		if err := os.WriteFile(path, []byte("above\n"+beginMarker+"\nold\n"+endMarker+"\nbelow\n"),
			0o600); err != nil {
			t.Fatal(err)
		}
		if err := update(path, []byte("new\n")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "above\n" + beginMarker + "\nnew\n" + endMarker + "\nbelow\n"; err != nil ||
		string(got) != want {
		t.Errorf("%q, want %q; %v", got, want, err)
	}
	if err := os.WriteFile(path, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := update(path, nil); err == nil {
		t.Error("no markers: no error")
	}
}

// TestKept: what was measured is read back, in the order of the cases.
func TestKept(t *testing.T) {
	t.Parallel()
	b := &bench{options: options{build: t.TempDir()}}
	if err := os.MkdirAll(filepath.Dir(b.resultFile("")), 0o755); err != nil {
		t.Fatal(err)
	}
	want := []result{
		{
			Name: "age-1", About: "about",
			Rows: []row{
				{Tool: rowSlim, Runs: seconds(1, 2), Account: account{Peak: 3, Programs: 4}},
				{Tool: rowAgainst, TooLong: 5},
			},
		},
		{Name: "pgp-1", Rows: []row{{Tool: rowSlim}}},
	}
	for _, r := range []result{want[1], want[0]} {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.resultFile(r.Name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.kept(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(b.resultFile("age-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kept(); err == nil {
		t.Error("a damaged result is read")
	}
}

// TestDocument: the page that "make bench" writes into has its markers.
func TestDocument(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, marker := range []string{beginMarker, endMarker} {
		if !bytes.Contains(data, []byte(marker)) {
			t.Errorf("docs/performance.md has no line %s", marker)
		}
	}
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("valgrind"); err != nil {
		testkeys.Missing(t, "valgrind is not installed")
	}
	got, err := command{argv: []string{"true"}}.instructions(t.TempDir())
	if err != nil || got < 10_000 || got > 10_000_000 {
		t.Errorf("%d instructions, %v", got, err)
	}
}
