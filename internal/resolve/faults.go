package resolve

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// faults collects what went wrong, in the order in which it is to be told.
type faults struct{ all []error }

func (f *faults) add(err error) { f.all = append(f.all, err) }

func (f *faults) err() error { return errors.Join(f.all...) }

// explain is the error of a file that cannot be decrypted: one for all of its secrets, with
// hints that say what was tried and what to do.
func (f *file) explain(ring *keyring.Ring) error {
	what := "decrypt"
	if f.opened == nil {
		what = "read"
	}
	err := fmt.Errorf("%s %s for %s: %w", what, f.path, list(f.names()), f.fault)
	if !isNoKey(f.fault) {
		return err
	}
	return cli.WithHint(err, append(keyHints(f.attempts, ring), f.advice(ring)...)...)
}

func isNoKey(err error) bool {
	var noKey *sopsfile.NoKeyError
	return errors.As(err, &noKey)
}

// keyHints says which keys there are, which sources were skipped, and which recipients failed
// for a reason of their own.
func keyHints(attempts []sopsfile.Attempt, ring *keyring.Ring) []string {
	var hints []string
	for _, id := range ring.Identities() {
		hints = append(hints, identityText(id))
	}
	for _, s := range ring.Skipped() {
		hints = append(hints, skippedText(s))
	}
	if len(hints) == 0 {
		hints = append(hints, "no key source is configured")
	}
	for _, a := range attempts {
		if a.Outcome == sopsfile.Failed {
			hints = append(hints, fmt.Sprintf("%s: %s", a.Name(), a.Reason))
		}
	}
	return hints
}

func skippedText(s keyring.Skipped) string {
	switch {
	case s.Cure == "":
		return fmt.Sprintf("%s: skipped: %s", s.Source, s.Reason)
	case s.Reason == fs.ErrPermission.Error():
		return fmt.Sprintf("cannot read %s: %s; %s", s.Source, s.Reason, s.Cure)
	}
	return fmt.Sprintf("%s: %s; %s", s.Source, s.Reason, s.Cure)
}

// storePath is the beginning of a path in the Nix store: what follows is the name of the user's
// file, or, behind "source", its path in the flake.
var storePath = pattern.New(`^/nix/store/[0-9a-z]{32}-(?:source/)?`)

// sourceName is the name that the user knows a sops file by.
func sourceName(path string) string {
	if name := storePath().ReplaceAllString(path, ""); name != path {
		return name
	}
	return filepath.Clean(path)
}
