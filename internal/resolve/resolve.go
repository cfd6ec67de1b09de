package resolve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/template"
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
	// Timeout limits each wait for a program (gpg, a plugin of age) or key service. 0 means what Keys
	// says, else 30 s.
	Timeout time.Duration
	// Files keeps the sops files from one request to the next, so that all of them see the same
	// content. nil reads them again.
	Files *Files
}

// Only is the part of a request that the named secrets and templates need: these, and the secrets
// whose placeholders are in the templates. The texts of the templates are read here, once.
func (req Request) Only(secrets, templates map[string]bool) Request {
	needed := make(map[string]bool)
	maps.Copy(needed, secrets)
	set := template.New(req.Placeholders)
	part := req
	part.Secrets, part.Templates = nil, nil
	for _, t := range req.Templates {
		if !templates[t.Name] {
			continue
		}
		if text, err := templateText(t); err == nil { // else whoever needs the text says why
			t.Content, t.File = text, ""
			names, _ := set.Uses(text)
			for _, name := range names {
				needed[name] = true
			}
		}
		part.Templates = append(part.Templates, t)
	}
	for _, s := range req.Secrets {
		if needed[s.Name] {
			part.Secrets = append(part.Secrets, s)
		}
	}
	return part
}

// Value is the plaintext of one secret or template, or the reason why there is none. Of Data
// and Err exactly one counts.
type Value struct {
	Data []byte
	Err  error
}

// Result has a Value for every secret and every template of the request, by name.
type Result struct {
	Secrets   map[string]Value
	Templates map[string]Value
	// Notes tell people which keys were found, in the order of the key sources.
	Notes []string
	// Warnings are about what did no harm, such as an agent that could not be ended.
	Warnings []string

	files       []*file
	ring        *keyring.Ring
	err         error
	otherFaults bool // a decrypted file lacks a value, or a template is wrong in itself
}

// Err joins the faults of all secrets and templates, in the order of the request; it is nil when
// all have a value. A fault that several secrets share (their sops file cannot be decrypted) is one
// error that names them.
func (r *Result) Err() error { return r.err }

// OnlyKeysMissing says whether it failed, and for no other reason than that no key opens the files.
func (r *Result) OnlyKeysMissing() bool {
	for _, f := range r.files {
		if f.fault != nil && !isNoKey(f.fault) {
			return false
		}
	}
	return r.err != nil && !r.otherFaults
}

// NoKeyYet says whether it failed because this host has no key at all: no key file exists, and
// neither a program nor a service is named that may have one.
func (r *Result) NoKeyYet() bool {
	if !r.OnlyKeysMissing() || !r.ring.Empty() {
		return false
	}
	for _, f := range r.files {
		for _, a := range f.attempts {
			if a.Outcome != sopsfile.NoKey {
				return false
			}
		}
	}
	return true
}

// workers is how many files are decrypted at a time. RSA keys take long enough for that to pay.
const workers = 2

// Run decrypts and renders everything of the request. The result always has all names. When ctx
// ends, programs and key services are not waited for any longer.
func Run(ctx context.Context, req Request) *Result {
	result := &Result{
		Secrets:   make(map[string]Value, len(req.Secrets)),
		Templates: make(map[string]Value, len(req.Templates)),
	}
	var err error
	if result.files, result.ring, err = decrypt(ctx, req); err != nil {
		result.Warnings = append(result.Warnings, err.Error())
	}
	var all faults
	told := make(map[*file]error)
	byName := filesByName(result.files)
	for _, s := range req.Secrets {
		f := byName[s.Name]
		value := f.values[s.Name]
		switch {
		case f.fault != nil:
			if told[f] == nil {
				told[f] = f.explain(result.ring)
				all.add(told[f])
			}
			value = Value{Err: told[f]}
		case value.Err != nil:
			value.Err = fmt.Errorf("secret %q: %s: %w", s.Name, s.SopsFile, value.Err)
			all.add(value.Err)
			result.otherFaults = true
		}
		result.Secrets[s.Name] = value
	}
	result.render(req, &all)
	result.err = all.err()
	result.Notes = notes(result.ring)
	return result
}

// decrypt decrypts all files of a request. The ring that it returns is closed: it can still tell
// which keys there were. The error is that of closing it. A small program that cannot do it becomes
// the full one: before a program is asked for keys where that is known from the files alone, else
// when all others are done.
func decrypt(ctx context.Context, req Request) ([]*file, *keyring.Ring, error) {
	files, read := group(req.Secrets), req.files()
	inParallel(files, func(f *file) { f.opened, f.fault = read.open(place{f.path, f.format}) })
	if remotekey.Small && slices.ContainsFunc(files, (*file).needsFull) {
		_ = remotekey.HandOver(ctx) // where it fails the file's own error says why
	}
	ring := keyring.Open(req.ringConfig())
	inParallel(files, func(f *file) { f.decrypt(ctx, ring) })
	err := ring.Close()
	for _, f := range files {
		if errors.Is(f.fault, remotekey.ErrHandOver) {
			f.fault = remotekey.HandOver(ctx)
		}
	}
	return files, ring, err
}

// needsFull says whether no key on a host suffices, or the host wants a record of what is
// decrypted.
func (f *file) needsFull() bool {
	return f.fault == nil && (f.opened.NeedsRemoteKey() || remotekey.AuditLog() != nil)
}

// inParallel does something with each file, which keeps its own error.
func inParallel(files []*file, do func(*file)) {
	var group errgroup.Group
	group.SetLimit(workers)
	for _, f := range files {
		group.Go(func() error {
			do(f)
			return nil
		})
	}
	_ = group.Wait()
}

func (req Request) timeout() time.Duration {
	switch {
	case req.Timeout > 0:
		return req.Timeout
	case req.Keys.KeyTimeout > 0:
		return time.Duration(req.Keys.KeyTimeout) * time.Second
	}
	return keyring.DefaultTimeout
}

func (req Request) ringConfig() keyring.Config {
	return keyring.Config{
		Keys: req.Keys, UserMode: req.UserMode, Getenv: req.Getenv, Timeout: req.timeout(),
	}
}

// file is one sops file of a request with all the secrets in it.
type file struct {
	path    string
	format  manifest.Format
	secrets []manifest.Source

	opened   *sopsfile.File
	attempts []sopsfile.Attempt
	values   map[string]Value
	fault    error // why there is no value at all
}

// place identifies a sops file: the same path read in two formats is two files.
type place struct {
	path   string
	format manifest.Format
}

func placeOf(s manifest.Source) place { return place{s.SopsFile, s.Format} }

func (f *file) names() []string {
	var names []string
	for _, s := range f.secrets {
		names = append(names, s.Name)
	}
	return names
}

// group collects the secrets of each file, in the order in which the files are first named.
func group(secrets []manifest.Source) []*file {
	byPlace := make(map[place]*file)
	var files []*file
	for _, s := range secrets {
		at := placeOf(s)
		f := byPlace[at]
		if f == nil {
			f = &file{path: s.SopsFile, format: s.Format}
			byPlace[at] = f
			files = append(files, f)
		}
		f.secrets = append(f.secrets, s)
	}
	return files
}

func filesByName(files []*file) map[string]*file {
	byName := make(map[string]*file)
	for _, f := range files {
		for _, s := range f.secrets {
			byName[s.Name] = f
		}
	}
	return byName
}

func (f *file) decrypt(ctx context.Context, ring *keyring.Ring) {
	f.values = make(map[string]Value, len(f.secrets))
	if f.fault != nil {
		return
	}
	var plain *sopsfile.Plain
	if plain, f.attempts, f.fault = f.opened.Decrypt(ctx, ring); f.fault != nil {
		return
	}
	for _, s := range f.secrets {
		data, err := plain.Value(s.Key)
		f.values[s.Name] = Value{data, err}
	}
}

// notes says which keys were imported.
func notes(ring *keyring.Ring) []string {
	var all []string
	for _, id := range ring.Identities() {
		for _, r := range id.Recipients {
			all = append(all, fmt.Sprintf("%s is the %s key of %s", id.Source, id.Type, sopsfile.Short(r)))
		}
		if len(id.Recipients) == 0 {
			all = append(all, fmt.Sprintf("%s has a key: %s", id.Source, id.Type))
		}
	}
	return all
}

// render renders the templates, each of which fails alone.
func (r *Result) render(req Request, all *faults) {
	set, known := template.New(req.Placeholders), req.known()
	for _, t := range req.Templates {
		text, names, err := readTemplate(set, t, known)
		if err != nil {
			r.otherFaults = true
		} else {
			err = r.missing(names)
		}
		if err != nil {
			err = fmt.Errorf("template %q: %w", t.Name, err)
			all.add(err)
			r.Templates[t.Name] = Value{Err: err}
			continue
		}
		value := func(name string) []byte { return r.Secrets[name].Data }
		r.Templates[t.Name] = Value{Data: set.Render(text, value)}
	}
}

// missing names those secrets that a template needs and that have no value.
func (r *Result) missing(names []string) error {
	var missing []string
	for _, name := range names {
		if r.Secrets[name].Err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be decrypted", list(missing))
}
