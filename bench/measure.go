package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what one run of a tool took. Read and written are bytes that went through system calls,
// from files, pipes and the terminal alike.
type cost struct {
	Wall, CPU     time.Duration
	Read, Written int64
}

// account is what is counted in a run of its own, because counting it takes time.
type account struct {
	Peak     int64 // bytes; resident memory of the largest process
	Programs int   // started by the tool, itself not counted
}

// command is a program with its arguments and variables; it gets no others but those of bare.
type command struct {
	argv []string
	env  []string
}

// bare is the environment of every command.
func bare() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
}

// errTooLong is the error of a command that was stopped at the time limit.
var errTooLong = errors.New("stopped at the time limit")

// run runs a command to its end. A status that is not 0 is an error with what the command printed
// last.
func (c command) run(limit time.Duration) (cost, error) {
	var output tail
	return c.runTo(&output, limit)
}

func (c command) runTo(output *tail, limit time.Duration) (cost, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	file, err := os.CreateTemp("", "bench-output-")
	if err != nil {
		return cost{}, err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = append(bare(), c.env...)
	cmd.Stdout, cmd.Stderr = file, file // no pipe: copying would be work of this process
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	readBefore, writtenBefore, err := transferred()
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	runErr := cmd.Run()
	wall := time.Since(start)
	read, written, err := transferred()
	if err != nil {
		return cost{}, err
	}
	switch {
	case ctx.Err() != nil:
		return cost{Wall: wall}, errTooLong
	case runErr != nil:
		if _, err := file.Seek(0, io.SeekStart); err == nil {
			_, _ = io.Copy(output, file) // what is missing of it shows
		}
		return cost{}, fmt.Errorf("%s: %w: %s", strings.Join(c.argv, " "), runErr, output)
	}
	state := cmd.ProcessState
	return cost{
		Wall: wall, CPU: state.UserTime() + state.SystemTime(),
		Read: max(0, read-readBefore), Written: written - writtenBefore,
	}, nil
}

// transferred is how many bytes this process and those it waited for have read and written by
// system calls so far (proc(5)), those of reading this very figure left out.
func transferred() (read, written int64, err error) {
	const name = "/proc/self/io"
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(string(data), "rchar: %d\nwchar: %d\n", &read, &written); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", name, err)
	}
	return read, written, nil
}

// execve is the line of strace for a program that was started.
var execve = regexp.MustCompile(`(?m)^\d+ +execve(?:at)?\(.*\) = 0$`)

// account runs the command under strace and time.
func (c command) account(dir string, limit time.Duration) (account, error) {
	trace, peak := filepath.Join(dir, "trace"), filepath.Join(dir, "peak")
	traced := command{
		argv: append([]string{
			"strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-o",
			trace,
			"time", "-q", "-f", "%M", "-o", peak, "--",
		}, c.argv...),
		env: c.env,
	}
	if _, err := traced.run(limit); err != nil {
		return account{}, err
	}
	lines, err := os.ReadFile(trace)
	if err != nil {
		return account{}, err
	}
	text, err := os.ReadFile(peak)
	if err != nil {
		return account{}, err
	}
	kibibytes, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return account{}, fmt.Errorf("peak memory of %s: %w", c.argv[0], err)
	}
	const own = 2 // time, and the command itself
	return account{Peak: kibibytes << 10, Programs: len(execve.FindAll(lines, -1)) - own}, nil
}

// tail keeps the last bytes written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	n, err := t.Buffer.Write(p)
	if extra := t.Len() - most; extra > 0 {
		t.Next(extra)
	}
	return n, err
}
