package initrd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// State is how a run that failed left an image.
type State string

// The states.
const (
	Untouched State = "untouched" // as it was before the run
	Changed   State = "changed"   // as the run should leave it; what failed came after that
	// as it should be, but a power cut can bring back what was there before
	Unsynced State = "unsynced"
	// its base, and a segment of which the kernel uses nothing
	WithoutSecrets State = "without secrets"
	Unknown        State = "unknown" // perhaps untouched, perhaps without secrets
)

// Error is the error of [Install], [Plan] and [Remove]. It prints as its cause.
type Error struct {
	State State // of the image
	Err   error
	Hint  string // how to get on, if that is known
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hints says how the image was left, and what to do.
func (e *Error) Hints() []string {
	text := map[State]string{
		Untouched:      "the image was not changed",
		Changed:        "the image is the new one",
		Unsynced:       "the image is the new one; run this again to make sure that it stays so",
		WithoutSecrets: "the image holds its base without secrets; run this again before the next boot",
		Unknown:        "the image may hold its base without secrets; run this again before the next boot",
	}[e.State]
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return []string{text}
}

// NoSpaceError says that a file system has no room for what has to be written. The image was not
// changed.
type NoSpaceError struct {
	Image   string
	Need    int64 // bytes that have to be free
	Free    int64 // bytes that are
	InPlace bool  // the need is that of overwriting the end of the image; false: that of a second copy
	Allow   bool  // Options.AllowInPlace would help
	cause   error // from the kernel; nil when the need was computed
}

func (e *NoSpaceError) Error() string {
	what := "a second copy of the image"
	if e.InPlace {
		what = "the longer segment"
	}
	text := fmt.Sprintf("write %s: no space left on device: %s takes %d bytes and %d are free",
		e.Image, what, e.Need, e.Free)
	if e.Need <= e.Free {
		return text + ", some of which the file system keeps for itself"
	}
	return fmt.Sprintf("%s: %d are missing", text, e.Need-e.Free)
}

// Unwrap makes the error match unix.ENOSPC, or the cause the kernel gave.
func (e *NoSpaceError) Unwrap() error {
	if e.cause != nil {
		return e.cause
	}
	return unix.ENOSPC
}

// Hints says how to get on.
func (e *NoSpaceError) Hints() []string {
	hints := []string{"remove what is not needed there, such as old generations"}
	if e.Allow {
		hints = append(hints, "or allow the end of the image to be overwritten in place, "+
			"which a power cut at that moment would leave without its secrets")
	}
	return hints
}
