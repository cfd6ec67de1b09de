package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/units"
)

// Status is what became of a secret or template.
type Status string

// The values of Status. Only the content counts, not owner or mode.
const (
	Changed   Status = "changed"   // installed; it has another value than before, or is new
	Unchanged Status = "unchanged" // installed; it has the value it had
	Kept      Status = "kept"      // not installed; its old file stays
	Failed    Status = "failed"    // not installed; there is no file
)

// Report is what a run did, or in a dry activation what it would do. It has no values.
type Report struct {
	// Generation is the live generation after the run; 0 if there is none.
	Generation uint64 `json:"generation"`
	// Previous is the generation that was live before; 0 if there was none.
	Previous  uint64     `json:"previous"`
	DryRun    bool       `json:"dryRun"`
	Secrets   []Outcome  `json:"secrets"`
	Templates []Outcome  `json:"templates"`
	Removed   []string   `json:"removed"` // files below the secrets directory
	Units     units.Sets `json:"units"`

	// silent is a run without a generation before it, where all is new, or one that is not to log
	// changes.
	silent bool
}

// Outcome is what became of one secret or template.
type Outcome struct {
	Name     string `json:"name"`
	SopsFile string `json:"sopsFile,omitempty"`
	Key      string `json:"key,omitempty"`
	Path     string `json:"path"`
	// Generation is the one that the value comes from; 0 if that is not known, not there yet, or
	// there is no value.
	Generation uint64 `json:"generation"`
	Status     Status `json:"status"`
	Cause      string `json:"cause,omitempty"`
	added      bool
}

func (p *plan) report(number uint64, dry bool, affected units.Sets) *Report {
	r := &Report{
		Generation: number, DryRun: dry, Secrets: []Outcome{}, Templates: []Outcome{},
		Removed: list(p.removed),
		Units:   units.Sets{Restart: list(affected.Restart), Reload: list(affected.Reload)},
		silent:  p.current == nil || p.current.Leftover || !p.manifest.Logging.SecretChanges,
	}
	if p.current != nil {
		r.Previous = p.current.Number
	}
	if dry {
		r.Generation = r.Previous
	}
	for _, it := range p.items {
		o := Outcome{
			Name: it.name, SopsFile: it.definition.SopsFile, Key: it.definition.Key, Path: it.place.Path,
			Status: it.state, added: it.added,
		}
		if o.Path == "" {
			o.Path = path.Join(p.manifest.SymlinkPath, it.file)
		}
		if err := errors.Join(it.err, it.linkErr); err != nil {
			o.Cause = err.Error()
		}
		switch it.state {
		case Unchanged:
			o.Generation = r.Generation
		case Changed:
			o.Generation = number
		case Kept:
			o.Generation = p.note.Definitions[it.file].Generation
		case Failed:
		}
		if it.kind == secret {
			r.Secrets = append(r.Secrets, o)
		} else {
			r.Templates = append(r.Templates, o)
		}
	}
	return r
}

// list is never null in JSON.
func list(s []string) []string { return append([]string{}, s...) }

// refused is the report of a strict run that installs nothing because of some faults.
func (p *plan) refused() *Report {
	for _, it := range p.items {
		if it.err == nil {
			it.err = errors.New("not installed, because others have faults (-strict)")
		}
	}
	p.compare()
	r := p.report(0, false, units.Sets{})
	r.Generation, r.Removed, r.silent = r.Previous, []string{}, true
	return r
}

// JSON is the report as a JSON document.
func (r *Report) JSON() string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(r) // a builder takes everything, and the report has nothing that JSON has not
	return text.String()
}

// Text says which secrets and rendered templates are added, modified and removed, one line each.
// It says nothing where there was no generation before, or the manifest does not want it logged.
func (r *Report) Text() string {
	if r.silent {
		return ""
	}
	var text strings.Builder
	r.writeChanges(&text, "secret", r.Secrets, func(name string) (string, bool) {
		return name, !strings.HasPrefix(name, renderedDir+"/")
	})
	r.writeChanges(&text, "rendered secret", r.Templates, func(name string) (string, bool) {
		return strings.CutPrefix(name, renderedDir+"/")
	})
	return text.String()
}

func (r *Report) writeChanges(
	w io.Writer, noun string, outcomes []Outcome, removed func(string) (string, bool),
) {
	var added, modified, gone []string
	for _, o := range outcomes {
		switch {
		case o.Status == Changed && o.added:
			added = append(added, o.Name)
		case o.Status == Changed:
			modified = append(modified, o.Name)
		}
	}
	for _, name := range r.Removed {
		if name, ok := removed(name); ok {
			gone = append(gone, name)
		}
	}
	for _, line := range []struct {
		done, would string
		names       []string
	}{
		{"adding", "would add", added},
		{"modifying", "would modify", modified},
		{"removing", "would remove", gone},
	} {
		if len(line.names) == 0 {
			continue
		}
		verb, plural := line.done, ""
		if r.DryRun {
			verb = line.would
		}
		if len(line.names) > 1 {
			plural = "s"
		}
		slices.Sort(line.names)
		fmt.Fprintf(w, "%s %s%s: %s\n", verb, noun, plural, cli.Visible(strings.Join(line.names, ", ")))
	}
}
