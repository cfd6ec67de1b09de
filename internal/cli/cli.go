// Package cli is what every program of this repository has in common with its user: the streams
// it talks to, the form of its errors and its exit statuses.
//
// An error is printed as "program: error: text", one line for each independent fault, followed by
// "program: hint: text" lines that say how to go on. Results go to standard output, everything
// else to standard error.
package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Exit statuses of every program.
const (
	Done   = 0 // what was asked is done; for a question, the answer is yes
	Failed = 1 // it failed and standard error says why; for a question, the answer is no
	Misuse = 2 // the command line is wrong; nothing was tried

	Stopped = 130 // a signal ended the run; standard error says what was done until then
)

// Env is all of the outside world that a command line program reads and writes by itself.
type Env struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

// hinter is implemented by errors that know how to go on.
type hinter interface{ Hints() []string }

// misuser is implemented by errors that are wrong use of a program.
type misuser interface{ Misuse() bool }

type hintedError struct {
	error
	hints []string
}

func (e *hintedError) Unwrap() error   { return e.error }
func (e *hintedError) Hints() []string { return e.hints }

// WithHint adds sentences that tell the user how to go on. The text of the error itself stays as
// it is. A nil error stays nil.
func WithHint(err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &hintedError{err, hints}
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }
func (usageError) Misuse() bool    { return true }

// Usage marks an error as wrong use of the program: exit status 2.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// ErrFailed makes Report return Failed without printing anything: for programs that have already
// said all there is to say, or whose answer is simply no.
var ErrFailed = errors.New("failed")

// Report prints err to e.Stderr in the name of program and returns the exit status that belongs
// to it. Joined errors are printed one by one, each with its hints behind it; a hint that several
// errors share is printed once.
func Report(e Env, program string, err error) int {
	if err == nil {
		return Done
	}
	var hints []string
	told := make(map[string]bool)
	for _, leaf := range leaves(err) {
		if !errors.Is(leaf, ErrFailed) {
			printLines(e, errPriority, program+": error: ", leaf.Error())
		}
		for _, h := range hintsOf(leaf) {
			if !told[h] {
				told[h] = true
				hints = append(hints, h)
			}
		}
	}
	for _, h := range hints {
		printLines(e, noticePriority, program+": hint: ", h)
	}
	var m misuser
	if errors.As(err, &m) && m.Misuse() {
		return Misuse
	}
	return Failed
}

// Fault is an error as programs read it.
type Fault struct {
	Error string   `json:"error"`
	Hints []string `json:"hints"`
}

// Faults takes an error apart as [Report] prints it, without what ErrFailed stands for.
func Faults(err error) []Fault {
	faults := []Fault{}
	for _, leaf := range leaves(err) {
		if !errors.Is(leaf, ErrFailed) {
			faults = append(faults, Fault{leaf.Error(), append([]string{}, hintsOf(leaf)...)})
		}
	}
	return faults
}

// Warn prints a condition under which the run still does what was asked.
func Warn(e Env, program, format string, args ...any) {
	printLines(e, warningPriority, program+": warning: ", fmt.Sprintf(format, args...))
}

// Hint prints how to go on after a warning.
func Hint(e Env, program, text string) { printLines(e, noticePriority, program+": hint: ", text) }

// Visible shows what a terminal or a log would not print as it is, control characters above all,
// escaped as in Go: names of files, units and menu entries may hold anything.
func Visible(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text,
		func(c rune) bool { return !unicode.IsPrint(c) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		c, size := utf8.DecodeRuneInString(text)
		if c == utf8.RuneError && size == 1 || !unicode.IsPrint(c) {
			quoted := strconv.QuoteToGraphic(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

// Tell prints a result on standard output. What was done stays done when that is full or closed:
// the result is then told on standard error, and is no failure.
func Tell(e Env, program, text string) {
	if _, err := io.WriteString(e.Stdout, text); err != nil {
		Warn(e, program, "cannot write to standard output (%v); this is what was to be said:\n%s", err,
			text)
	}
}

// Note prints what was done, or what the program waits for.
func Note(e Env, program, format string, args ...any) {
	printLines(e, notePriority, program+": ", fmt.Sprintf(format, args...))
}

// leaves takes joined errors apart. An error that wraps a joined one with words of its own is one
// leaf.
func leaves(err error) []error {
	switch e := err.(type) { //nolint:errorlint // a join that is wrapped with words must stay whole
	case *hintedError:
		if parts := leaves(e.error); len(parts) > 1 {
			last := len(parts) - 1
			parts[last] = &hintedError{parts[last], e.hints}
			return parts
		}
	case usageError:
		if parts := leaves(e.error); len(parts) > 1 {
			return parts
		}
	case interface{ Unwrap() []error }:
		if joined := errors.Join(e.Unwrap()...); joined != nil && joined.Error() == err.Error() {
			var all []error
			for _, part := range e.Unwrap() {
				all = append(all, leaves(part)...)
			}
			return all
		}
	}
	return []error{err}
}

// hintsOf collects the hints of err and of everything it wraps, outermost first.
func hintsOf(err error) []string {
	var hints []string
	if h, ok := err.(hinter); ok { //nolint:errorlint // each layer is asked in turn
		hints = append(hints, h.Hints()...)
	}
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			hints = append(hints, hintsOf(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			hints = append(hints, hintsOf(inner)...)
		}
	}
	return hints
}
