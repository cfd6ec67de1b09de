// Package faults is a file layer for tests that fails, or stops the program, at a chosen operation.
//
// A run without a fault counts the operations; a test then repeats the run once for each of them
// and each way to fail.
package faults

import (
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

// ErrKilled is the error of every operation after a Kill: the program is gone and has no effect any
// more.
var ErrKilled = errors.New("killed")

// Mode is a way to fail.
type Mode int

// The ways to fail.
const (
	None Mode = iota
	Fail      // the operation has no effect and returns the error
	// the operation takes effect and returns the error all the same, as fsync, rename and close may
	After
	// a write or copy does half of its work, then returns the error; any other operation fails
	Short
	// this operation and all later ones fail, as on a file system that turned itself read-only
	Gone
	Kill // the program stops before the operation
	Half // the program stops in the middle of a write or copy; before any other operation
)

func (m Mode) String() string {
	return [...]string{"none", "fail", "after", "short", "gone", "kill", "half"}[m]
}

// Layer passes operations on to another layer and fails one of them. It is safe for concurrent use.
type Layer struct {
	inner atomicfile.Layer
	mode  Mode
	at    int
	err   error

	mu      sync.Mutex
	ops     []string
	dead    bool
	handles map[io.Closer]string
	reads   map[string]int64
	writes  int64
}

// New returns a layer over inner that fails its operation number at (from 0). The error of a Fail,
// After, Short or Gone is err.
func New(inner atomicfile.Layer, mode Mode, at int, err error) *Layer {
	return &Layer{
		inner: inner, mode: mode, at: at, err: err,
		handles: map[io.Closer]string{}, reads: map[string]int64{},
	}
}

// Count returns a layer that fails nothing.
func Count(inner atomicfile.Layer) *Layer { return New(inner, None, -1, nil) }

// Ops lists the operations so far, each a verb and a name, such as "sync /boot".
func (l *Layer) Ops() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops)
}

// Leaked lists the files and directories that are still open.
func (l *Layer) Leaked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, n := range l.handles {
		names = append(names, n)
	}
	return names
}

// BytesRead returns how many bytes were read from files opened by this name, copies by the kernel
// included.
func (l *Layer) BytesRead(name string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads[name]
}

// BytesWritten returns how many bytes were written to files, copies by the kernel included.
func (l *Layer) BytesWritten() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

// do runs one operation, or what is to happen in its place. The work is told what part of it to do:
// 1 all, 2 half.
func (l *Layer) do(op string, work func(part int64) error) error {
	mode, err := l.begin(op)
	switch mode {
	case Fail, Gone:
		return err
	case After:
		return errors.Join(work(1), err)
	case Short:
		_ = work(2)
		return err
	case Kill:
		return ErrKilled
	case Half:
		_ = work(2)
		l.die()
		return ErrKilled
	default:
		return work(1)
	}
}

// begin counts an operation and says how it has to fail.
func (l *Layer) begin(op string) (Mode, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return Kill, ErrKilled
	}
	n := len(l.ops)
	l.ops = append(l.ops, op)
	if n == l.at && l.mode == Kill {
		l.dieLocked()
	}
	if n == l.at || l.mode == Gone && n > l.at {
		return l.mode, l.err
	}
	return None, nil
}

func (l *Layer) die() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dieLocked()
}

// dieLocked closes what the program had open, as its end would: locks are released.
func (l *Layer) dieLocked() {
	l.dead = true
	for h := range l.handles {
		_ = h.Close()
	}
	clear(l.handles)
}

// keep notes an open handle.
func (l *Layer) keep(h io.Closer, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = h.Close()
		return
	}
	l.handles[h] = name
}

// drop closes a handle. A close that fails closes all the same, as on Linux.
func (l *Layer) drop(h io.Closer, name string) error {
	err := l.do("close "+name, func(int64) error { return nil })
	l.mu.Lock()
	_, held := l.handles[h]
	delete(l.handles, h)
	l.mu.Unlock()
	if held {
		err = errors.Join(h.Close(), err)
	}
	return err
}

// OpenDir implements atomicfile.Layer.
func (l *Layer) OpenDir(path string) (d atomicfile.Dir, err error) {
	err = l.do("opendir "+path, func(part int64) error {
		if part != 1 {
			return nil
		}
		inner, err := l.inner.OpenDir(path)
		if err == nil {
			l.keep(inner, path)
			d = &dir{l, inner, path}
		}
		return err
	})
	if err != nil && d != nil {
		_ = d.Close()
		d = nil
	}
	return d, err
}

// Open implements atomicfile.Layer.
func (l *Layer) Open(path string) (atomicfile.File, error) {
	return l.openFile("open ", path, l.inner.Open)
}

func (l *Layer) openFile(op, name string, open func(string) (atomicfile.File, error)) (
	f atomicfile.File, err error,
) {
	var inner atomicfile.File
	err = l.do(op+name, func(part int64) error {
		if part != 1 {
			return nil
		}
		var err error
		if inner, err = open(name); err == nil {
			l.keep(inner, name)
		}
		return err
	})
	if inner == nil {
		return nil, err
	}
	f = &file{l, inner, name}
	if err != nil {
		// The operation took effect and failed: nobody can close the handle.
		l.mu.Lock()
		delete(l.handles, inner)
		l.mu.Unlock()
		_ = inner.Close()
		return nil, err
	}
	return f, nil
}
