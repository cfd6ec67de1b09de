// Package resolve is the half of the road that activation and the initrd share: from the secrets and templates of a
// manifest to their values.
//
// Every sops file is read and decrypted once, whatever the number of its secrets. Every secret and template stands for
// itself: one that cannot be had has an error of its own and does not touch the others.
package resolve

import (
	"context"
	"errors"

	"sops-initrd/internal/manifest"
)

// Request is what is wanted: the part of a manifest that decides values.
type Request struct {
	Keys         manifest.KeySources
	Secrets      []manifest.Source
	Templates    []manifest.Text
	Placeholders map[string]string
	// UserMode allows key sources below the user's home directory, as sops documents them.
	UserMode bool
	// Getenv looks up the variables that the caller set on purpose for sops (SOPS_AGE_KEY and so on).
	Getenv func(string) string
}

// Value is the plaintext of one secret or template, or the reason why there is none. Of Data and Err exactly one counts.
type Value struct {
	Data []byte
	Err  error
}

// Result has a Value for every secret and every template of the request, by name.
type Result struct {
	Secrets   map[string]Value
	Templates map[string]Value
	// Notes are messages for people about the keys that were imported, in the order of the key sources.
	Notes []string
}

// Err joins the faults of all secrets and templates, in the order of the request; it is nil when all have a value. A fault that
// several secrets share (their sops file cannot be decrypted) is one error that names them.
func (r *Result) Err() error { return errors.New("resolve: not implemented") }

// Run decrypts and renders everything of the request. The result always has all names; ctx ends waiting for programs
// and key services.
func Run(ctx context.Context, req Request) *Result { return nil }

// Level says how far Check looks.
type Level int

// The levels of Check.
const (
	CheckManifest Level = iota // nothing beyond the manifest: placeholders of templates
	CheckSopsFile              // the sops files as well: format, metadata, keys; no decryption
)

// Check looks, without any key, for faults that a build can find, and joins them.
func Check(req Request, level Level) error { return errors.New("resolve: not implemented") }

// Inputs writes to w, in a canonical form, everything of the request that decides the values: the encrypted values that
// the secrets need, the templates' texts, the placeholders in use. It needs no key. Equal inputs write equal bytes; sops files that
// were only re-encrypted for other recipients write the same bytes as before.
func Inputs(req Request, w interface{ Write([]byte) (int, error) }) error {
	return errors.New("resolve: not implemented")
}
