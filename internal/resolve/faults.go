package resolve

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/keyring"
	"sops-initrd/internal/sopsfile"
)

// faults collects what went wrong, in the order in which it is to be told.
type faults struct{ all []error }

func (f *faults) add(err error) { f.all = append(f.all, err) }

func (f *faults) err() error { return errors.Join(f.all...) }

// explain is the error of a file that cannot be decrypted: one for all of its secrets, with hints that say what was tried
// and what to do.
func (f *file) explain(ring *keyring.Ring) error {
	err := fmt.Errorf("decrypt %s for %s: %w", f.path, list(f.names()), f.fault)
	var noKey *sopsfile.NoKeyError
	if !errors.As(f.fault, &noKey) {
		return err
	}
	return cli.WithHint(err, append(keyHints(noKey.Attempts, ring), f.advice(ring))...)
}

// keyHints says which keys there are, which sources were skipped, and which recipients failed for a reason of their own.
func keyHints(attempts []sopsfile.Attempt, ring *keyring.Ring) []string {
	var hints []string
	for _, id := range ring.Identities() {
		text := fmt.Sprintf("%s: %s key", id.Source, id.Type)
		if len(id.Recipients) > 0 {
			text += " of " + strings.Join(id.Recipients, ", ")
		}
		hints = append(hints, text)
	}
	for _, s := range ring.Skipped() {
		hints = append(hints, fmt.Sprintf("%s: skipped: %s", s.Source, s.Reason))
	}
	if len(hints) == 0 {
		hints = append(hints, "no key source is configured")
	}
	for _, a := range attempts {
		if a.Reason != "" && a.Reason != keyring.ErrNoMatch.Error() {
			hints = append(hints, fmt.Sprintf("%s: %s", a.Name(), a.Reason))
		}
	}
	return hints
}

// advice is the command that makes the file readable here.
func (f *file) advice(ring *keyring.Ring) string {
	name := sourceName(f.path)
	for _, id := range ring.Identities() {
		for _, recipient := range id.Recipients {
			kind := "age"
			if !strings.HasPrefix(recipient, "age1") && !strings.HasPrefix(recipient, "ssh-") {
				kind = "pgp"
			}
			return fmt.Sprintf("to let this host decrypt it, add %s to the %s keys of %s in .sops.yaml and run: sops updatekeys %s", recipient, kind, name, name)
		}
	}
	return fmt.Sprintf("to let this host decrypt it, give it a key, add the public half to the keys of %s in .sops.yaml and run: sops updatekeys %s", name, name)
}

// storePath is the beginning of a path in the Nix store: what follows is the name of the user's file, or, behind "source", its
// path in the flake.
var storePath = regexp.MustCompile(`^/nix/store/[0-9a-z]{32}-(?:source/)?`)

// sourceName is the name that the user knows a sops file by.
func sourceName(path string) string {
	if name := storePath.ReplaceAllString(path, ""); name != path {
		return name
	}
	return filepath.Clean(path)
}
