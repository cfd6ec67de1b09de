package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	shared := "run sops updatekeys"
	for _, c := range []struct {
		name   string
		err    error
		want   string
		status int
	}{
		{"nil", nil, "", Done},
		{"plain", errors.New("a: b"), "p: error: a: b\n", Failed},
		{"usage", Usage(errors.New("no manifest")), "p: error: no manifest\n", Misuse},
		{"silent", ErrFailed, "", Failed},
		{"hint", WithHint(errors.New("a"), "b"), "p: error: a\np: hint: b\n", Failed},
		{
			"hint below a wrap", fmt.Errorf("x: %w", WithHint(errors.New("a"), "b")),
			"p: error: x: a\np: hint: b\n", Failed,
		},
		{
			"join", errors.Join(errors.New("a"), errors.Join(errors.New("b"), errors.New("c"))),
			"p: error: a\np: error: b\np: error: c\n", Failed,
		},
		{
			"wrapped join stays one", fmt.Errorf("x: %w", errors.Join(errors.New("a"), errors.New("b"))),
			"p: error: x: a\n  b\n", Failed,
		},
		{
			"hints once, after the errors",
			errors.Join(WithHint(errors.New("a"), shared), WithHint(errors.New("b"), shared)),
			"p: error: a\np: error: b\np: hint: " + shared + "\n", Failed,
		},
		{
			"hint on a join", WithHint(errors.Join(errors.New("a"), errors.New("b")), "h"),
			"p: error: a\np: error: b\np: hint: h\n", Failed,
		},
		{
			"control characters", errors.New("a\x1b[31m\nb\r\t\x7f\u009b\u202e\xff ü…"),
			"p: error: a\\x1b[31m\n  b\\r\\t\\x7f\\u009b\\u202e\\xff ü…\n", Failed,
		},
		{
			"usage of a join", Usage(errors.Join(errors.New("a"), errors.New("b"))),
			"p: error: a\np: error: b\n", Misuse,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			if got := Report(Env{Stderr: &stderr}, "p", c.err); got != c.status {
				t.Errorf("status %d, want %d", got, c.status)
			}
			if stderr.String() != c.want {
				t.Errorf("printed %q, want %q", stderr.String(), c.want)
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestTell(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	Tell(Env{Stdout: full{}, Stderr: &stderr}, "p", "image: 1 secret added\n")
	want := "p: warning: cannot write to standard output (no space left on device); this is what " +
		"was to be said:\n  image: 1 secret added\n"
	if stderr.String() != want {
		t.Errorf("%q, want %q", stderr.String(), want)
	}
}
