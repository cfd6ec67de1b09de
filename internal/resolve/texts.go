package resolve

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/template"
)

// known are the names of the secrets of the request.
func (req Request) known() map[string]bool {
	known := make(map[string]bool, len(req.Secrets))
	for _, s := range req.Secrets {
		known[s.Name] = true
	}
	return known
}

// readTemplate returns the text of a template and the names of the secrets in it, all of which
// are known.
func readTemplate(set *template.Set, t manifest.Text, known map[string]bool) (text string,
	names []string, err error,
) {
	if text, err = templateText(t); err != nil {
		return "", nil, err
	}
	names, unknown := set.Uses(text)
	var faults []string
	for _, placeholder := range unknown {
		faults = append(faults, fmt.Sprintf("%s is a placeholder of no secret", placeholder))
	}
	for _, name := range names {
		if !known[name] {
			faults = append(faults, fmt.Sprintf("the secret %q is not in this manifest (secrets for "+
				"users are in one of their own)", name))
		}
	}
	if len(faults) > 0 {
		return "", nil, errors.New(strings.Join(faults, "; "))
	}
	return text, names, nil
}

// maxTextBytes bounds the text of a template, which is a configuration file.
const maxTextBytes = 16 << 20

// templateText is the text of a template. Where a manifest has both, the content counts, as in
// the reference.
func templateText(t manifest.Text) (string, error) {
	if t.Content != "" || t.File == "" {
		return t.Content, nil
	}
	data, err := inputfile.Read(t.File, maxTextBytes)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", t.File, err)
	}
	return string(data), nil
}

// list writes names for a message: the first ten, and how many more there are.
func list(names []string) string {
	const most = 10
	kind := "secrets"
	if len(names) == 1 {
		kind = "secret"
	}
	var quoted []string
	for i, name := range names {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	return kind + " " + strings.Join(quoted, ", ")
}
