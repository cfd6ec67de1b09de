// Command runner runs the parts of the test suite one after the other: it says where it is, shows
// the output of what fails, and closes with what passed, failed and was skipped, and why.
//
//	go run ./internal/test/runner [-dir DIR] [-allow REGEXP] PART... [-- ARGUMENT...]
//
// Arguments after -- are for go test. The events of each part stay in DIR/PART.json. With CI=true a
// skipped test is a failure unless its reason matches -allow: there, no tool may be missing.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// allowedSkips are right everywhere: long cases, helpers of other tests, file systems that this
// machine's kernel does not have, what only an ordinary user or only a full build can test.
const allowedSkips = `^(not here|takes long|maps 4 GiB|only a helper|mount |root can read|` +
	`the scratch directory)`

func main() {
	dir := flag.String("dir", "build/tests", "where the events of the runs are kept")
	allow := flag.String("allow", allowedSkips, "reasons for skips that CI=true accepts")
	flag.Parse()
	names, extra := flag.Args(), []string(nil)
	if i := slices.Index(names, "--"); i >= 0 {
		names, extra = names[:i], names[i+1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := &suite{dir: *dir, extra: extra, start: time.Now(), reasons: map[string]int{}}
	if os.Getenv("CI") == "true" {
		if os.Geteuid() != 0 {
			*allow += "|(needs|only) root"
		}
		s.allow = regexp.MustCompile(*allow)
	}
	err := s.run(ctx, names)
	s.summary()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

// part is a run of go test, or of fuzz targets one after the other.
type part struct {
	name, title string
	vm          bool // what is listed is tests, not packages
	args        []string
}

func parts() []part {
	return []part{
		{name: "unit", title: "unit, script and differential tests", args: []string{"-timeout", "20m"}},
		{
			name: "vm", title: "kernels in QEMU", vm: true,
			args: []string{"-count=1", "-p=1", "-timeout", env("VMTESTS_TIMEOUT", "60m")},
		},
		{name: "fuzz", title: "fuzz targets, " + fuzzTime() + " each"},
	}
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func fuzzTime() string { return env("FUZZTIME", "5s") }

// packages lists the packages of the module that are below vmtests/, or those that are not.
func packages(ctx context.Context, vm bool) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	list := strings.Fields(string(out))
	return slices.DeleteFunc(list,
		func(p string) bool { return strings.Contains(p, "/vmtests") != vm }), nil
}

// suite is one run of some parts.
type suite struct {
	dir     string
	extra   []string
	start   time.Time
	allow   *regexp.Regexp // nil: every skip is right
	scratch string

	passed, failed, skipped int
	reasons                 map[string]int // why tests were skipped
	unwanted                []string       // tests that may not be skipped here
}

func (s *suite) run(ctx context.Context, names []string) (err error) {
	var chosen []part
	for _, name := range names {
		i := slices.IndexFunc(parts(), func(p part) bool { return p.name == name })
		if i < 0 {
			return fmt.Errorf("part %q: not known (unit, vm, fuzz)", name)
		}
		chosen = append(chosen, parts()[i])
	}
	if len(chosen) == 0 {
		return errors.New("no part is named (unit, vm, fuzz)")
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if s.scratch, err = makeScratch(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clean(ctx)) }()
	var faults []error
	for i, p := range chosen {
		var next []string
		for _, later := range chosen[i+1:] {
			next = append(next, later.title)
		}
		s.sayf("== part %d of %d: %s%s", i+1, len(chosen), p.title, then(next))
		begin := time.Now()
		err := s.part(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.title, err))
		}
		s.sayf("== %s: %d s", p.title, seconds(begin))
	}
	if len(s.unwanted) > 0 {
		faults = append(faults,
			fmt.Errorf("skipped, but CI=true says that nothing is missing here:\n   %s",
				strings.Join(s.unwanted, "\n   ")))
	}
	return errors.Join(faults...)
}

// makeScratch makes a place of its own for temporary files, open to others as /tmp is: what tests
// leave there is a fault of theirs. The name is as short as can be, for sockets.
func makeScratch() (string, error) {
	for n := 1; ; n++ {
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("t%d", n))
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			return dir, os.Chmod(dir, 0o777|fs.ModeSticky)
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

func then(next []string) string {
	if len(next) == 0 {
		return ""
	}
	return "; then " + strings.Join(next, ", ")
}

func (s *suite) part(ctx context.Context, p part) error {
	packages, err := packages(ctx, p.vm)
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		return errors.New("no packages")
	}
	if p.name == "fuzz" {
		return s.fuzz(ctx, packages)
	}
	events, err := os.Create(filepath.Join(s.dir, p.name+".json"))
	if err != nil {
		return err
	}
	r := &reader{suite: s, cases: p.vm, events: events, total: len(packages)}
	args := slices.Concat([]string{"test", "-json"}, p.args, s.extra, packages)
	err = r.follow(s.command(ctx, args...))
	r.table()
	return errors.Join(err, events.Close())
}

// fuzz runs every target on its own, as go test has to.
func (s *suite) fuzz(ctx context.Context, packages []string) error {
	out, err := s.command(ctx, append([]string{"test", "-list", "^Fuzz"}, packages...)...).Output()
	if err != nil {
		return fmt.Errorf("list targets: %w", err)
	}
	var targets [][2]string
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "Fuzz"):
			names = append(names, fields[0])
		case strings.HasPrefix(line, "ok"):
			for _, name := range names {
				targets = append(targets, [2]string{fields[1], name})
			}
			names = nil
		}
	}
	if len(targets) == 0 {
		return errors.New("no targets")
	}
	var faults []error
	for i, t := range targets {
		s.sayf("[%d of %d, %d s] %s %s", i+1, len(targets), seconds(s.start), filepath.Base(t[0]), t[1])
		out, err := s.command(ctx, "test", "-run", "^$", "-fuzz", "^"+t[1]+"$", "-fuzztime", fuzzTime(),
			t[0]).CombinedOutput()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !outOfTime(out) {
			s.failed++
			faults = append(faults, fmt.Errorf("%s: %w", t[1], err))
			s.sayf("%s", out)
			continue
		}
		s.passed++
	}
	return errors.Join(faults...)
}

// outOfTime tells whether a fuzz target failed by nothing but the end of -fuzztime: go test
// sometimes reports its own time limit as the target's fault (go.dev/issue/75804, until Go 1.27).
// A real fault comes with the input that shows it.
func outOfTime(out []byte) bool {
	_, report, found := bytes.Cut(out, []byte("--- FAIL: "))
	lines := bytes.Split(report, []byte("\n"))
	return found && len(lines) > 2 && string(lines[2]) == "FAIL" &&
		string(bytes.TrimSpace(lines[1])) == "context deadline exceeded"
}

// command is go, which a signal ends in its own way: it ends its tests.
func (s *suite) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.scratch)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// clean removes the scratch directory; that it was not empty is a fault, unless the run was broken
// off.
func (s *suite) clean(ctx context.Context) error {
	left, err := os.ReadDir(s.scratch)
	if err == nil && len(left) > 0 && ctx.Err() == nil {
		var names []string
		for _, entry := range left {
			names = append(names, entry.Name())
		}
		err = fmt.Errorf("tests left temporary files behind: %s", strings.Join(names, " "))
	}
	return errors.Join(err, os.RemoveAll(s.scratch))
}

func (s *suite) sayf(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

func seconds(since time.Time) int { return int(time.Since(since).Seconds()) }

// summary says why tests were skipped, and closes with the counts alone on a line.
func (s *suite) summary() {
	if s.skipped > 0 {
		s.sayf("\nskipped, and why:")
	}
	for _, reason := range slices.SortedFunc(keys(s.reasons), func(a, b string) int {
		return s.reasons[b] - s.reasons[a]
	}) {
		s.sayf("%5d  %s", s.reasons[reason], reason)
	}
	s.sayf("\nin %d min %d s:\n%d passed, %d failed, %d skipped",
		seconds(s.start)/60, seconds(s.start)%60, s.passed, s.failed, s.skipped)
}
