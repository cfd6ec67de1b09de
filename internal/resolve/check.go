package resolve

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/template"
)

// Level says how far Check looks.
type Level int

// The levels of Check.
const (
	CheckManifest Level = iota // nothing beyond the manifest and its templates: placeholders
	CheckSopsFile              // the sops files as well: format, metadata, keys; no decryption
)

// Check looks, without any key, for faults that a build can find, and joins them.
func Check(req Request, level Level) error {
	var all faults
	if level >= CheckSopsFile {
		sealed, faulty := seal(req)
		all.add(checkRemote(req, sealed))
		for _, s := range req.Secrets {
			place := placeOf(s)
			if err := faulty[place]; err != nil {
				all.add(err)
				faulty[place] = nil // told once
				continue
			}
			if f := sealed[place]; f != nil {
				if err := f.Has(s.Key); err != nil {
					all.add(fmt.Errorf("secret %q: %s: %w", s.Name, s.SopsFile, err))
				}
			}
		}
	}
	set := template.New(req.Placeholders)
	for _, t := range req.Templates {
		if _, _, err := readTemplate(set, t, req.known()); err != nil {
			all.add(fmt.Errorf("template %q: %w", t.Name, err))
		}
	}
	return all.err()
}

// Sizes are, without any key, the lengths of those secrets that are a single value.
func Sizes(req Request) map[string]int {
	sizes := make(map[string]int)
	sealed, _ := seal(req)
	for _, s := range req.Secrets {
		if f := sealed[placeOf(s)]; f != nil {
			if n, ok := f.Size(s.Key); ok {
				sizes[s.Name] = n
			}
		}
	}
	return sizes
}

// Warnings says, without any key, which secrets are perhaps not what their author wrote.
func Warnings(req Request) []string {
	var all []string
	sealed, _ := seal(req)
	for _, s := range req.Secrets {
		if f := sealed[placeOf(s)]; f != nil {
			if text := f.Warning(s.Key); text != "" {
				all = append(all, fmt.Sprintf("secret %q: %s: %s", s.Name, s.SopsFile, text))
			}
		}
	}
	return all
}

// checkRemote looks for files that only keys outside a host open, where this program cannot ask
// for those.
func checkRemote(req Request, sealed map[place]*sopsfile.Sealed) error {
	err := remotekey.Available()
	if err == nil {
		return nil
	}
	var all faults
	for _, f := range group(req.Secrets) {
		if s := sealed[placeOf(f.secrets[0])]; s != nil && s.NeedsRemoteKey() {
			all.add(cli.WithHint(
				fmt.Errorf("%s, of %s: only keys in clouds or vaults open it: %w", f.path, list(f.names()),
					err),
				"on NixOS: sops.package and sops.initrd.package of the default packages, which bring the "+
					"full programs",
			))
		}
	}
	return all.err()
}

// seal reads the files of a request, without keys. A file that cannot be read has an error that
// names its secrets.
func seal(req Request) (map[place]*sopsfile.Sealed, map[place]error) {
	sealed, faulty := make(map[place]*sopsfile.Sealed), make(map[place]error)
	files := req.files()
	for _, f := range group(req.Secrets) {
		at := placeOf(f.secrets[0])
		opened, err := files.open(at)
		if err == nil {
			sealed[at], err = opened.Seal()
		}
		if err != nil {
			faulty[at] = fmt.Errorf("read %s for %s: %w", f.path, list(f.names()), err)
		}
	}
	return sealed, faulty
}

// Inputs writes to w, in a canonical form, everything of the request that decides the values:
// the encrypted values that the secrets need, the templates' texts, the placeholders in use. It
// needs no key. Equal inputs write equal bytes; sops files that were only re-encrypted for
// other recipients write the same bytes as before. Where a sops file lies does not matter.
func Inputs(req Request, w io.Writer) error {
	sealed, faulty := seal(req)
	var all faults
	e := encoder{w: w}
	e.list("secrets", len(req.Secrets))
	for _, s := range slices.SortedStableFunc(slices.Values(req.Secrets), func(a,
		b manifest.Source,
	) int {
		return strings.Compare(a.Name, b.Name)
	}) {
		place := placeOf(s)
		if f := sealed[place]; f != nil {
			e.text(s.Name)
			e.text(s.Key)
			if err := f.Write(w, s.Key); err != nil {
				all.add(fmt.Errorf("secret %q: %s: %w", s.Name, s.SopsFile, err))
			}
		} else if err := faulty[place]; err != nil {
			all.add(err)
			faulty[place] = nil // told once
		}
	}
	set := template.New(req.Placeholders)
	e.list("templates", len(req.Templates))
	for _, t := range slices.SortedStableFunc(slices.Values(req.Templates), func(a,
		b manifest.Text,
	) int {
		return strings.Compare(a.Name, b.Name)
	}) {
		text, names, err := readTemplate(set, t, req.known())
		if err != nil {
			all.add(fmt.Errorf("template %q: %w", t.Name, err))
		}
		e.text(t.Name)
		e.text(text)
		e.list("placeholders", len(names))
		for _, name := range names {
			e.text(name)
			e.text(req.Placeholders[name])
		}
	}
	if e.err != nil {
		all.add(e.err)
	}
	return all.err()
}

// encoder writes texts with their lengths before them, so that different lists never look alike.
type encoder struct {
	w   io.Writer
	err error
}

func (e *encoder) text(s string) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, "%d:%s", len(s), s)
	}
}

func (e *encoder) list(what string, n int) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, "%s %d\n", what, n)
	}
}
