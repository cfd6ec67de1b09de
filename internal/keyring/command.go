package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/google/shlex"
)

// command is a program named by a variable of sops that prints keys. sops asks it once for each
// recipient.
type command struct {
	variable string
	line     string
	parse    func(source string, output []byte) (memory, plugins []ageKey)
	answers  map[string]commandAnswer // by recipient; guarded by the ring's lock on programs
}

type commandAnswer struct {
	memory, plugins []ageKey
	err             error
}

func newCommand(variable, line string, parse func(string, []byte) (memory, plugins []ageKey)) *command {
	return &command{variable, line, parse, make(map[string]commandAnswer)}
}

func (c *command) keys(ctx context.Context, r *Ring, recipient string) (memory, plugins []ageKey, err error) {
	a, ok := c.answers[recipient]
	if !ok {
		var output []byte
		output, a.err = limited(ctx, r, c.variable, func(left time.Duration) ([]byte, error) { return c.run(ctx, left, recipient) })
		if a.err == nil {
			a.memory, a.plugins = c.parse(c.variable, output)
		}
		c.answers[recipient] = a
	}
	return a.memory, a.plugins, a.err
}

// run starts the program without a shell, as sops does.
func (c *command) run(ctx context.Context, timeout time.Duration, recipient string) ([]byte, error) {
	args, err := shlex.Split(c.line)
	if err != nil || len(args) == 0 {
		return nil, errors.New("not a command line")
	}
	output, _, err := run(ctx, timeout, program{
		Path: args[0], Args: args[1:], Env: []string{envRecipient + "=" + recipient}, MaxOutput: maxKeyFileBytes,
	})
	return output, err
}

// program is a program to start. Its environment is this process's own, with Env added.
type program struct {
	Path      string
	Args      []string
	Stdin     []byte
	Env       []string
	MaxOutput int // a program that prints more is killed
}

// maxComplaintBytes is what is kept of standard error: a few lines of it are shown.
const maxComplaintBytes = 4096

// capped keeps what is written to it up to a limit; then it calls full.
type capped struct {
	kept  bytes.Buffer // not embedded: io.Copy would go around the limit through its ReadFrom
	limit int
	full  func()
	over  bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.limit - c.kept.Len()
	c.kept.Write(p[:min(len(p), room)])
	if len(p) > room {
		c.over = true
		c.full()
	}
	return len(p), nil // what was not kept is not missed
}

// run runs a program with no terminal of its own to its end, or kills it with all of its process
// group.
func run(ctx context.Context, timeout time.Duration, p program) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	out := capped{limit: p.MaxOutput, full: cancel}
	complaints := capped{limit: maxComplaintBytes, full: func() {}}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.Stdin), &out, &complaints
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipes open is not waited for
	err = cmd.Run()
	var exit *exec.ExitError
	var start *exec.Error
	var notThere *fs.PathError
	switch {
	case out.over:
		err = fmt.Errorf("%s: it printed more than %d bytes", p.Path, p.MaxOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("%s: %w", p.Path, ErrNoAnswer)
	case errors.As(err, &start):
		err = fmt.Errorf("%s: %w", p.Path, start.Err)
	case errors.As(err, &notThere):
		err = fmt.Errorf("%s: %w", p.Path, notThere.Err)
	case errors.As(err, &exit):
		err = fmt.Errorf("%s: %s", p.Path, exit.ProcessState)
	}
	return out.kept.Bytes(), complaints.kept.Bytes(), err
}

// ageKeysOf reads the output of a program that prints age keys.
func (r *Ring) ageKeysOf(source string, output []byte) (memory, plugins []ageKey) {
	return r.parseAgeKeys(source, output, false)
}

// sshKeyOf reads the output of a program that prints an SSH private key. As sops means it, it is an
// age key and no OpenPGP key.
func (r *Ring) sshKeyOf(source string, output []byte) (memory, plugins []ageKey) {
	key, identities, err := parseSSHKey(source, output)
	if err != nil {
		r.skip(source, err.Error())
		return nil, nil
	}
	recipients := slices.DeleteFunc(key.Recipients(), func(recipient string) bool { return recipient == key.PGPFingerprint() })
	r.found(Identity{source, key.Type(), recipients})
	return identities, nil
}
