package initrdsecrets

import (
	"io/fs"
	"os"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// defaultMode is what a secret or template gets that has no mode of its own.
const defaultMode fs.FileMode = 0o400

func declaredMode(e manifest.Entry) fs.FileMode {
	if e.Mode != nil {
		return *e.Mode
	}
	return defaultMode
}

// needed is the part of a manifest that its entries use: a secret that only stands in the list cannot make an image stale or
// a run fail.
func (j *job) needed() resolve.Request {
	m := j.manifest
	secrets, templates := make(map[string]bool), make(map[string]bool)
	for _, e := range m.Entries {
		secrets[e.Secret], templates[e.Template] = true, true
	}
	req := resolve.Request{Keys: m.Keys, Placeholders: m.Placeholders, Files: &j.files}
	for _, t := range m.Templates {
		if !templates[t.Name] {
			continue
		}
		req.Templates = append(req.Templates, t)
		text := t.Content
		if t.File != "" {
			data, err := os.ReadFile(t.File)
			if err != nil {
				continue // resolve reads it too and says why it cannot
			}
			text = string(data)
		}
		for name, placeholder := range m.Placeholders {
			if placeholder != "" && strings.Contains(text, placeholder) {
				secrets[name] = true
			}
		}
	}
	for _, s := range m.Secrets {
		if secrets[s.Name] {
			req.Secrets = append(req.Secrets, s)
		}
	}
	return req
}
