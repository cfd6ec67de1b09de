package install

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"

	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// renderedDir is where templates go in a generation.
const renderedDir = "rendered"

// kind is what an item is called in messages.
type kind string

const (
	secret   kind = "secret"
	template kind = "template"
)

// item is a secret or template on its way into a generation.
type item struct {
	kind       kind
	name       string
	file       string // its name in the generation
	place      manifest.Placement
	definition definition

	value    []byte
	err      error // why it cannot be installed
	linkErr  error // why its link cannot be made
	uid, gid uint32

	old   *generation.File // its file in the live generation; nil if there is none
	state Status
	added bool // there was no file before
}

func (it *item) String() string { return fmt.Sprintf("%s %q", it.kind, it.name) }

// definition is what a manifest says of an item, as far as it decides the file. It is noted with
// the generation.
type definition struct {
	// Generation is the one that the file was made for.
	Generation uint64 `json:"generation"`
	SopsFile   string `json:"sopsFile,omitempty"`
	Format     string `json:"format,omitempty"`
	Key        string `json:"key,omitempty"`
	Template   string `json:"template,omitempty"`
	Owner      string `json:"owner"`
	Group      string `json:"group"`
	Mode       string `json:"mode"`
}

// changes lists, in words, how an old definition differs from that of today.
func (old definition) changes(now definition) []string {
	var list []string
	for _, field := range []struct{ name, old, now string }{
		{"sopsFile", old.SopsFile, now.SopsFile},
		{"format", old.Format, now.Format},
		{"key", old.Key, now.Key},
		{"owner", old.Owner, now.Owner},
		{"group", old.Group, now.Group},
		{"mode", old.Mode, now.Mode},
	} {
		if field.old != field.now {
			list = append(list, fmt.Sprintf("%s was %q", field.name, field.old))
		}
	}
	if old.Template != now.Template {
		list = append(list, "the template was another")
	}
	return list
}

// items makes the list of everything that a manifest installs, secrets first.
func items(m *manifest.Manifest) []*item {
	var all []*item
	for _, s := range m.Secrets {
		def := placementOf(s.Placement)
		def.SopsFile, def.Format, def.Key = s.SopsFile, string(s.Format), s.Key
		it := &item{kind: secret, name: s.Name, file: s.Name, place: s.Placement, definition: def}
		all = append(all, it)
	}
	for _, t := range m.Templates {
		def := placementOf(t.Placement)
		if def.Template = "file " + t.File; t.File == "" {
			sum := sha256.Sum256([]byte(t.Content)) // of a text that has no secrets
			def.Template = "sha256 " + hex.EncodeToString(sum[:])
		}
		file := path.Join(renderedDir, t.Name)
		all = append(all, &item{kind: template, name: t.Name, file: file, place: t.Placement, definition: def})
	}
	return all
}

func placementOf(p manifest.Placement) definition {
	def := definition{Owner: p.Owner, Group: p.Group, Mode: hostfile.Octal(p.Mode)}
	if def.Owner == "" {
		def.Owner = fmt.Sprint(p.UID)
	}
	if def.Group == "" {
		def.Group = fmt.Sprint(p.GID)
	}
	return def
}

// request is what has to be decrypted and rendered for a manifest.
func request(m *manifest.Manifest, getenv func(string) string) resolve.Request {
	req := resolve.Request{Keys: m.Keys, Placeholders: m.Placeholders, UserMode: m.UserMode, Getenv: getenv}
	for _, s := range m.Secrets {
		req.Secrets = append(req.Secrets, s.Source)
	}
	for _, t := range m.Templates {
		req.Templates = append(req.Templates, t.Text)
	}
	return req
}
