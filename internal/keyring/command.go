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

// command is a program named by a variable of sops that prints keys. sops asks it once for each recipient.
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

func (c *command) keys(ctx context.Context, timeout time.Duration, recipient string) (memory, plugins []ageKey, err error) {
	a, ok := c.answers[recipient]
	if !ok {
		var output []byte
		if output, a.err = c.run(ctx, timeout, recipient); a.err == nil {
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
	output, _, err := run(ctx, timeout, program{args[0], args[1:], nil, []string{envRecipient + "=" + recipient}})
	return output, err
}

// program is a program to start. Its environment is this process's own, with Env added.
type program struct {
	Path  string
	Args  []string
	Stdin []byte
	Env   []string
}

// run runs a program with no terminal of its own to its end, or kills it with all of its process group.
func run(ctx context.Context, timeout time.Duration, p program) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	var out, complaints bytes.Buffer
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
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("%s: %w in %v", p.Path, ErrNoAnswer, timeout)
	case errors.As(err, &start):
		err = fmt.Errorf("%s: %w", p.Path, start.Err)
	case errors.As(err, &notThere):
		err = fmt.Errorf("%s: %w", p.Path, notThere.Err)
	case errors.As(err, &exit):
		err = fmt.Errorf("%s: %s", p.Path, exit.ProcessState)
	}
	return out.Bytes(), complaints.Bytes(), err
}

// ageKeysOf reads the output of a program that prints age keys.
func (r *Ring) ageKeysOf(source string, output []byte) (memory, plugins []ageKey) {
	return r.parseAgeKeys(source, output)
}

// sshKeyOf reads the output of a program that prints an SSH private key. As sops means it, it is an age key and no OpenPGP key.
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
