package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxPluginBytes bounds what a plugin prints: an answer has some hundred bytes, and package age
	// keeps a line of any length.
	maxPluginBytes = 16 << 20
	// pluginPoll is how often a plugin is looked at.
	pluginPoll = 10 * time.Millisecond
	// pluginEndTimeout is how long the end of a plugin that was killed is waited for: long enough
	// for a busy machine to start it.
	pluginEndTimeout = 5 * time.Second
)

var errFlood = errors.New("too much output")

// askPlugin calls ask, which starts the plugin program of that name, for a limited time. A plugin
// that gives no answer, or prints without an end, is ended with all that it has started.
//
// Package age keeps the process to itself, but the kernel tells which children a thread has started
// (man page proc_pid_task, "children"): ask has a thread of its own. Where the kernel tells nothing
// the time alone bounds a plugin, which ends when this process does.
func askPlugin(ctx context.Context, left time.Duration, program string,
	ask func() ([]byte, error),
) ([]byte, error) {
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var t thread
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		<-begun
		t.bound(asking, stop)
	}()
	data, err := within(asking, left, func() ([]byte, error) {
		defer close(ended)
		// Never unlocked: the thread ends with this function, and no other code has children on it.
		runtime.LockOSThread()
		t.path, _ = os.Readlink("/proc/thread-self")
		t.others = childrenOfThread(t.path)
		close(begun)
		return ask()
	})
	flooded := errors.Is(context.Cause(asking), errFlood)
	if flooded || ctx.Err() != nil || errors.Is(err, ErrNoAnswer) {
		<-begun
		t.end(ended)
		switch {
		case flooded:
			err = fmt.Errorf("it printed more than %d bytes", maxPluginBytes)
		case ctx.Err() != nil:
			err = ctx.Err()
		}
		err = fmt.Errorf("%s: %w", program, err)
	}
	return data, err
}

// thread is the one that starts a plugin.
type thread struct {
	path   string   // in /proc: PID/task/TID
	others []string // processes that it has started before
}

// children are the processes of the plugin.
func (t *thread) children() []string {
	return slices.DeleteFunc(childrenOfThread(t.path), func(process string) bool {
		return slices.Contains(t.others, process)
	})
}

// bound stops when a plugin has written more than it may. All descendants count, since it may be a
// script.
func (t *thread) bound(ctx context.Context, stop context.CancelCauseFunc) {
	written := make(map[string]int64) // of those that have ended, too
	var look func(processes []string)
	look = func(processes []string) {
		for _, process := range processes {
			if n, err := bytesWritten(process); err == nil {
				written[process] = n
			}
			look(children(process))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pluginPoll):
		}
		look(t.children())
		var all int64
		for _, n := range written {
			all += n
		}
		if all > maxPluginBytes {
			stop(errFlood)
		}
	}
}

// bytesWritten is how much a process has written so far (man page proc_pid_io, "wchar").
func bytesWritten(process string) (int64, error) {
	data, err := os.ReadFile("/proc/" + process + "/io")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "wchar: ")
	number, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(number, 10, 64)
}

// end kills the plugin, and waits until it is gone. It looks again until then: the plugin may be
// just starting.
func (t *thread) end(ended <-chan struct{}) {
	for deadline := time.Now().Add(pluginEndTimeout); time.Now().Before(deadline); {
		for _, child := range t.children() {
			killTree(child)
		}
		select {
		case <-ended:
			return
		case <-time.After(pluginPoll):
		}
	}
}

// killTree ends a process and its descendants, the parents first: they start no more.
func killTree(process string) {
	pid, err := strconv.Atoi(process)
	if err != nil {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP) // it keeps its children until they were looked up
	below := children(process)
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	for _, child := range below {
		killTree(child)
	}
}

// childrenOfThread are the numbers of the processes that a thread, PID/task/TID, has started.
func childrenOfThread(thread string) []string {
	list, _ := os.ReadFile("/proc/" + thread + "/children") // it may have ended
	return strings.Fields(string(list))
}

// children are the numbers of the processes that a process has started.
func children(process string) []string {
	threads, _ := filepath.Glob("/proc/" + process + "/task/*") // the pattern is well-formed
	var all []string
	for _, thread := range threads {
		all = append(all, childrenOfThread(strings.TrimPrefix(thread, "/proc/"))...)
	}
	return all
}
