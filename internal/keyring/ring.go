package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/progress"
)

// DefaultTimeout is how long one program is waited for.
const DefaultTimeout = 30 * time.Second

// Config says which keys there are.
type Config struct {
	Keys manifest.KeySources
	// UserMode allows the key sources below the user's home directory that sops documents.
	UserMode bool
	// Getenv looks up the variables that were set on purpose for sops. They come after the manifest's
	// sources.
	Getenv func(string) string
	// Timeout is how long one program is waited for; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Identity is a key that was found.
type Identity struct {
	// Source is the path of the key file, or the name of the variable.
	Source string `json:"source"`
	// Type is "age", "age post-quantum", "age plugin NAME", "ssh-ed25519", "ssh-rsa" or "pgp".
	Type string `json:"type"`
	// Recipients are the names under which a file can be encrypted for the key, as far as they are
	// known.
	Recipients []string `json:"recipients,omitempty"`
}

// Skipped is a key source that is not used, and why.
type Skipped struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	// Absent says that the file or directory does not exist. All other reasons mean that there is
	// something, which may be meant to be a key.
	Absent bool `json:"absent"`
	// Cure is what makes it usable, where that is known.
	Cure string `json:"cure,omitempty"`
}

// Ring is the keys of this host. It may be used from several goroutines at a time.
type Ring struct {
	timeout    time.Duration
	identities []Identity
	skipped    []Skipped
	memory     []ageKey                          // age identities that need no program
	plugins    []ageKey                          // age identities of plugins
	pgp        []pgpKey                          // RSA keys, which are OpenPGP keys too
	commands   []*command                        // programs that print keys
	gpg        *gpg                              // nil without a home that may be used
	seen       map[string]bool                   // sources that were read
	told       map[any]bool                      // what is in identities and skipped
	vain       map[string]vain                   // by source
	allVain    time.Duration                     // what all of them lasted
	read       struct{ identities, skipped int } // how many of both were known when the ring was open

	mu       sync.Mutex // guards what is told, and the times, once the ring is open
	programs sync.Mutex // one program at a time: a token or a card has one user
}

// ageKey is an age identity, where it comes from, and which recipients it opens, as far as that is
// known.
type ageKey struct {
	source     string
	identity   age.Identity
	recipients []string
}

// ErrNoMatch means that no key fits.
var ErrNoMatch = errors.New("no key fits")

// ErrDamaged means that a data key cannot be opened by the very key that it is encrypted for, or is
// no encrypted data at all. More keys do not help.
var ErrDamaged = errors.New("the encrypted data key is malformed")

// ErrNoAnswer means that a program or a service was waited for in vain.
var ErrNoAnswer = errors.New("no answer")

// Open reads the key sources. It never fails: what cannot be used is told by Skipped.
func Open(c Config) *Ring {
	if c.Getenv == nil {
		c.Getenv = func(string) string { return "" }
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	r := &Ring{
		timeout: c.Timeout, seen: make(map[string]bool), told: make(map[any]bool), vain: make(map[string]vain),
	}
	r.addManifest(c)
	r.addEnvironment(c)
	if c.UserMode {
		r.addHome(c)
	}
	r.gpg = newGPG(c, r)
	r.read.identities, r.read.skipped = len(r.identities), len(r.skipped)
	return r
}

// Close ends what the ring has started.
func (r *Ring) Close() error {
	if r.gpg == nil {
		return nil
	}
	return r.gpg.close()
}

// Identities are the keys that were found: first those of files and variables, in the order in
// which they are tried, then those that programs told, in an order that does not depend on time.
func (r *Ring) Identities() []Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.identities)
	slices.SortFunc(all[r.read.identities:], func(a, b Identity) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Type, b.Type), slices.Compare(a.Recipients, b.Recipients))
	})
	return all
}

// Skipped are the key sources that are not used, in the same order.
func (r *Ring) Skipped() []Skipped {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.skipped)
	slices.SortFunc(all[r.read.skipped:], func(a, b Skipped) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Reason, b.Reason))
	})
	return all
}

// Empty says whether this host has no key at all: no key file exists, and no program is named that
// may have a key. A source that exists, but cannot be used, is not nothing.
func (r *Ring) Empty() bool {
	for _, s := range r.Skipped() {
		if !s.Absent {
			return false
		}
	}
	return len(r.Identities()) == 0 && len(r.commands) == 0 && r.gpg == nil
}

func (r *Ring) skip(source, reason string) { r.skipAs(Skipped{Source: source, Reason: reason}) }

func (r *Ring) skipAs(s Skipped) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.told[s] {
		r.told[s] = true
		r.skipped = append(r.skipped, s)
	}
}

func (r *Ring) found(id Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [3]string{id.Source, id.Type, strings.Join(id.Recipients, "\n")}
	if !r.told[key] {
		r.told[key] = true
		r.identities = append(r.identities, id)
	}
}

// Ask waits for f, which asks a service for a key, as limited says. f goes on when it is not waited
// for any more: it must be something that ends with the process.
func Ask[T any](ctx context.Context, r *Ring, source string, f func() (T, error)) (T, error) {
	return limited(ctx, r, source, func(left time.Duration) (T, error) { return within(ctx, left, f) })
}

// limited gives f the time that is left for asking a source. The tries that come to nothing may
// last as long as the timeout together: a source that hangs is waited for once in a run, whatever
// the number of files and recipients.
func limited[T any](ctx context.Context, r *Ring, source string, f func(left time.Duration) (T, error)) (T, error) {
	r.mu.Lock()
	tries := r.vain[source]
	left := min(r.timeout-tries.lasted, maxSilentSources*r.timeout-r.allVain)
	r.mu.Unlock()
	if left <= 0 {
		var none T
		return none, cmp.Or(tries.last, fmt.Errorf("not asked: other key sources gave %w", ErrNoAnswer))
	}
	defer progress.Step(ctx, "waiting for "+source)()
	begin := time.Now()
	value, err := f(left)
	if errors.Is(err, ErrNoAnswer) {
		err = fmt.Errorf("%w in %v", err, r.timeout)
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		lasted := time.Since(begin)
		r.vain[source] = vain{r.vain[source].lasted + lasted, err}
		r.allVain += lasted
	}
	return value, err
}

// vain is the tries of a key source that came to nothing.
type vain struct {
	lasted time.Duration
	last   error
}

// maxSilentSources is how many key sources are waited for to the end of their time, so that a file
// that names a hundred services cannot hold up a run: of two regions of a cloud, a token and an
// agent none may answer.
const maxSilentSources = 4

// within waits for f, but not longer than timeout and not longer than ctx.
func within[T any](ctx context.Context, timeout time.Duration, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		v, err := f()
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-limited.Done():
		var none T
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		return none, ErrNoAnswer
	}
}
