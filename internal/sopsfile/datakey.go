package sopsfile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
)

// Outcome is what came of one recipient, in a word.
type Outcome string

// The outcomes.
const (
	Opened    Outcome = "opened"     // a key opened its part
	NoKey     Outcome = "no key"     // no key of this host fits
	Failed    Outcome = "failed"     // something went wrong, and Reason says what
	NotNeeded Outcome = "not needed" // it was not tried, because others sufficed
)

// Attempt is what came of one recipient.
type Attempt struct {
	Recipient
	Outcome Outcome `json:"outcome"`
	// Source is where the key comes from that opened it.
	Source string `json:"source,omitempty"`
	// Reason is why it failed.
	Reason string `json:"reason,omitempty"`

	damaged error // its data key is, whatever else was tried
}

// NoKeyError means that the keys of this host do not open a file.
type NoKeyError struct {
	// Attempts has one entry for each recipient, in the order of the file.
	Attempts []Attempt
	// Groups is the number of key groups, Needed of how many a key is needed, Have of how many there
	// was one.
	Groups, Needed, Have int
}

func (e *NoKeyError) Error() string {
	var needs []string
	for _, a := range e.Attempts {
		if a.Outcome != Opened {
			needs = append(needs, a.Name())
		}
	}
	const most = 5
	if more := len(needs) - most; more > 0 {
		needs = append(needs[:most], fmt.Sprintf("%d more", more))
	}
	text := "no key fits"
	if e.Groups > 1 {
		text = fmt.Sprintf("keys of %d key groups are needed and only %d fit", e.Needed, e.Have)
	}
	if len(needs) == 0 {
		return text
	}
	return text + " (encrypted for " + strings.Join(needs, ", ") + ")"
}

// Name is the recipient in words, no longer than a line.
func (r Recipient) Name() string {
	switch r.Type {
	case age.KeyTypeIdentifier:
		return Short(r.ID)
	case pgp.KeyTypeIdentifier:
		return "PGP " + r.ID
	}
	return r.Type + " " + Short(r.ID)
}

// Short shortens a recipient that is longer than a line to its kind, its beginning and its end: a
// post-quantum one has 2000 characters, an RSA key 400.
func Short(id string) string {
	const most, begin, end = 120, 24, 12
	if len(id) <= most {
		return id
	}
	short := strings.ToValidUTF8(id[:begin]+"…"+id[len(id)-end:], "?")
	if strings.HasPrefix(id, "age1pq1") {
		short += " (post-quantum)"
	}
	return short
}

// search is the way to a data key.
type search struct {
	attempts []Attempt
	parts    map[int][]byte // by key group
	needed   int
	handOver bool // only the full program can ask some recipient
}

func (s *search) done() bool { return len(s.parts) >= s.needed }

// try asks f for the recipients whose group has no part yet, until there are enough.
func (s *search) try(fits func(Recipient) bool, f func(Recipient) ([]byte, string, error)) {
	for i := range s.attempts {
		a := &s.attempts[i]
		if s.done() {
			return
		}
		if s.parts[a.Group] != nil || !fits(a.Recipient) {
			continue
		}
		part, source, err := f(a.Recipient)
		s.handOver = s.handOver || errors.Is(err, remotekey.ErrHandOver)
		switch {
		case err == nil:
			s.parts[a.Group], a.Outcome, a.Source, a.Reason = part, Opened, source, ""
		case errors.Is(err, keyring.ErrDamaged):
			a.Outcome, a.Reason, a.damaged = Failed, err.Error(), err
		case a.damaged != nil:
		case !errors.Is(err, keyring.ErrNoMatch):
			a.Outcome, a.Reason = Failed, err.Error()
		case a.Outcome == NotNeeded:
			a.Outcome = NoKey
		}
	}
}

// dataKey finds the data key: keys in memory are tried on all recipients first, then programs, then
// the network.
func (f *File) dataKey(ctx context.Context, ring *keyring.Ring) ([]byte, []Attempt, error) {
	if err := remotekey.AuditLog(); err != nil {
		return nil, nil, err
	}
	groups, needed := f.Groups()
	s := &search{parts: make(map[int][]byte), needed: needed}
	for _, r := range f.Recipients() {
		s.attempts = append(s.attempts, Attempt{Recipient: r, Outcome: NotNeeded})
	}
	sealed := func(r Recipient) keyring.Sealed {
		return keyring.Sealed{Type: r.Type, Recipient: r.ID, Data: r.key.EncryptedDataKey()}
	}
	s.try(Recipient.local, func(r Recipient) ([]byte, string, error) { return ring.Memory(sealed(r)) })
	s.try(Recipient.local, func(r Recipient) ([]byte, string, error) { return ring.Programs(ctx, sealed(r)) })
	s.try(func(r Recipient) bool { return !r.local() }, func(r Recipient) ([]byte, string, error) {
		part, err := fromService(ctx, ring, r)
		return part, r.Type, err
	})
	if !s.done() && s.handOver {
		return nil, s.attempts, remotekey.ErrHandOver
	}
	for _, a := range s.attempts {
		if !s.done() && a.damaged != nil {
			return nil, s.attempts, fmt.Errorf("the part of the sops metadata for %s: %w", a.Name(), a.damaged)
		}
	}
	if !s.done() {
		return nil, s.attempts, &NoKeyError{s.attempts, groups, needed, len(s.parts)}
	}
	var parts [][]byte
	for group := range groups {
		if part := s.parts[group]; part != nil {
			parts = append(parts, part)
		}
	}
	if groups == 1 {
		return parts[0], s.attempts, nil
	}
	key, err := shamir.Combine(parts)
	if err != nil {
		return nil, s.attempts, errors.New("the parts of the data key do not belong together")
	}
	return key, s.attempts, nil
}

// fromService asks the service that has a key. Sops's own clients cannot be interrupted: when the
// time is over it is left alone, and ends with the process.
func fromService(ctx context.Context, ring *keyring.Ring, r Recipient) ([]byte, error) {
	return keyring.Ask(ctx, ring, r.Type+" "+r.ID, func() (part []byte, err error) {
		err = guard(func() error {
			part, err = remotekey.Decrypt(ctx, r.key)
			if err != nil && !errors.Is(err, remotekey.ErrHandOver) {
				return errors.New(keyring.Quiet(err.Error()))
			}
			return err
		})
		return part, err
	})
}
