package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

const program = "bench"

// defaultLimit is how long one run may take.
const defaultLimit = 150 * time.Second

const usage = `usage: bench [-against PROGRAM] [-run REGEXP] [-runs N] [-limit TIME] [-time TIME] [-update FILE] -build DIR
       bench -instructions [-programs DIR] [-run REGEXP] -build DIR

Measure the programs below DIR, as "make bench" builds them, beside what does the same work today. Prints tables of these cases and
of those that were measured before.

options:
  -against PROGRAM   another sops-install-secrets, measured on the same manifests
  -build DIR         where "make bench" has built the programs, and where data is kept
  -instructions      count instructions instead, of this project's programs, and print them as Go benchmarks are
  -limit TIME        stop a run after this time (default 150s)
  -programs DIR      slim programs to take instead of those of the build
  -run REGEXP        only the cases whose names match
  -runs N            runs of each tool (default 10); tools that take long have fewer
  -time TIME         after this time begin no case any more and take no further turns (default 15m); what was measured stays
  -update FILE       put the table into FILE, between its markers
`

type options struct {
	against, build, programs, run, update string

	runs         int
	limit, time  time.Duration
	instructions bool
}

func parse(args []string) (o options, match *regexp.Regexp, err error) {
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.against, "against", "", "")
	set.StringVar(&o.build, "build", "", "")
	set.StringVar(&o.run, "run", ".", "")
	set.StringVar(&o.update, "update", "", "")
	set.StringVar(&o.programs, "programs", "", "")
	set.BoolVar(&o.instructions, "instructions", false, "")
	set.IntVar(&o.runs, "runs", 10, "")
	set.DurationVar(&o.limit, "limit", defaultLimit, "")
	set.DurationVar(&o.time, "time", defaultTime, "")
	if err := set.Parse(args); err != nil {
		return o, nil, err
	}
	if set.NArg() > 0 || o.build == "" || o.runs < 1 {
		return o, nil, errors.New("-build and no operands are wanted, and at least one run")
	}
	for _, path := range []*string{&o.build, &o.against, &o.programs, &o.update} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return o, nil, err
		}
	}
	match, err = regexp.Compile(o.run)
	return o, match, err
}

func run(env cli.Env) int {
	o, match, err := parse(env.Args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(env.Stdout, usage)
		return cli.Done
	}
	if err != nil {
		return cli.Report(env, program, cli.Usage(err))
	}
	if os.Geteuid() != 0 {
		return cli.Report(env, program,
			errors.New("secrets are installed as on a real host, which only root can do"))
	}
	if env.Getenv(insideVariable) == "" {
		return inside(env)
	}
	start := time.Now()
	b := &bench{
		options: o, match: match, progress: env.Stderr, start: start,
		deadline: start.Add(o.time),
	}
	if err := prepareMachine(); err != nil {
		return cli.Report(env, program, err)
	}
	if err := os.RemoveAll(b.images()); err != nil { // of a run that was killed
		return cli.Report(env, program, err)
	}
	defer os.RemoveAll(b.images()) // gigabytes
	if o.instructions {
		err = b.countInstructions(env.Stdout, b.cases())
	} else {
		err = b.report(env.Stdout)
	}
	return cli.Report(env, program, errors.Join(err, b.fixture().stopAgent()))
}

// insideVariable is set in the process that runs in a mount namespace of its own.
const insideVariable = "BENCH_INSIDE"

// inside runs this program again in a mount namespace, so that nothing it mounts is seen outside or
// stays.
func inside(env cli.Env) int {
	cmd := exec.Command("/proc/self/exe", env.Args...)
	cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	// makes mounts private, too
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return cli.Report(env, program, err)
}

// bench is one run of everything.
type bench struct {
	options
	match           *regexp.Regexp
	progress        io.Writer
	start, deadline time.Time
}

// tell writes a line of progress, with the time since the start.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.progress, "%4.0fs  %s\n", time.Since(b.start).Seconds(),
		fmt.Sprintf(format, args...))
}

// runDir is where secrets are installed: a private /run.
const runDir = "/run/bench"

// images is where images lie: on a real file system.
func (b *bench) images() string { return filepath.Join(b.build, "images") }

func (b *bench) fixture() *fixture {
	return &fixture{
		dir: filepath.Join(b.build, "data"), bin: filepath.Join(b.build, "bin"),
		keys: "internal/test/testkeys/testdata",
	}
}

func (b *bench) cases() []benchCase {
	f := b.fixture()
	p := programs{
		slim: filepath.Join(b.build, "slim", "bin"), full: filepath.Join(b.build, "full"),
		against: b.against,
	}
	if b.programs != "" {
		p.slim = b.programs
	}
	return append((&activation{f, p, runDir}).cases(), (&imaging{f, p, runDir, b.images()}).cases()...)
}

// prepareMachine gives this process's mount namespace an empty /run and the group that owns secrets
// on NixOS.
func prepareMachine() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a private /run: %w", err)
	}
	for _, dir := range []string{"/run/nixos", runDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	own := "/run/group"
	if err := os.WriteFile(own, append(groups, "keys:x:96:\n"...), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(own, "/etc/group", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind a private /etc/group: %w", err)
	}
	return nil
}
