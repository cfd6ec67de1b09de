package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/units"
)

// plan is what a run is going to do.
type plan struct {
	manifest *manifest.Manifest
	items    []*item
	// current is the live generation, nil if there is none; note is what is known about it.
	current *generation.Generation
	note    note
	noUnits bool // there is no systemd of the user's
	// removed are the files of the live generation that the manifest does not have.
	removed []string
	notes   []string // about keys
	// warnings are about keys, too.
	warnings []string
	faults   []error
}

// note is what is kept with a generation for the run that comes next.
type note struct {
	// Definitions has, by file, what the file was made from.
	Definitions map[string]definition `json:"definitions"`
	// Pending are the units that have to see this generation and were not told yet.
	Pending units.Sets `json:"pending"`
	// Links are the paths of the links to its files, outside the generation. StaleLinks are those
	// of earlier generations that were not removed yet.
	Links      []string `json:"links,omitempty"`
	StaleLinks []string `json:"staleLinks,omitempty"`
}

// newPlan decrypts and renders everything and compares it with the live generation. It changes
// nothing. What went wrong with single items is in the faults of the plan.
func (in Installer) newPlan(
	ctx context.Context, m *manifest.Manifest, current *generation.Generation,
) (*plan, error) {
	p := &plan{manifest: m, items: items(m), current: current}
	p.noUnits = m.UserMode && userManager(in.Env.Getenv) == ""
	if current != nil {
		// A note that cannot be read is that of another version: nothing is known then.
		_ = json.Unmarshal(current.Note, &p.note)
	}
	result := in.Resolve(ctx, request(m, in.Env.Getenv))
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	p.notes, p.warnings = result.Notes, result.Warnings
	told := make(map[string]bool)
	for _, it := range p.items {
		value := result.Secrets[it.name]
		if it.kind == template {
			value = result.Templates[it.name]
		}
		it.value, it.err = value.Data, value.Err
		if value.Err == nil {
			continue
		}
		if text := value.Err.Error(); !told[text] { // secrets of one file share the fault of the file
			told[text] = true
			p.fault(value.Err)
		}
	}
	p.checkPlaces()
	files, err := current.Files()
	if err != nil {
		return nil, fmt.Errorf("read the live generation: %w", err)
	}
	stays := make(map[string]bool, len(p.items))
	for _, it := range p.items {
		stays[it.file] = true
	}
	p.removed = slices.DeleteFunc(files, func(name string) bool { return stays[name] })
	return p, nil
}

func (p *plan) fault(err error) {
	if err != nil {
		p.faults = append(p.faults, err)
	}
}

// fail says that an item cannot be installed.
func (p *plan) fail(it *item, err error) {
	err = fmt.Errorf("%s: %w", it, err)
	it.err = errors.Join(it.err, err)
	p.fault(err)
}

// compare decides the state of every item, when all faults are known.
func (p *plan) compare() {
	for _, it := range p.items {
		old, err := p.current.Read(it.file)
		switch {
		case err == nil:
			it.old = &old
		case !errors.Is(err, fs.ErrNotExist):
			p.fault(fmt.Errorf("%s: read the live file: %w", it, err))
		}
		switch {
		case it.err != nil && it.old != nil:
			it.state = Kept
		case it.err != nil:
			it.state = Failed
		case it.old != nil && bytes.Equal(it.old.Data, it.value):
			it.state = Unchanged
		default:
			it.state, it.added = Changed, it.old == nil
		}
	}
}

// err joins the faults, with hints about what becomes of the secrets concerned.
func (p *plan) err() error { return cli.WithHint(errors.Join(p.faults...), p.hints()...) }

// hints says what is kept, and where the kept file was made from another definition.
func (p *plan) hints() []string {
	var hints, kept []string
	for _, it := range p.items {
		if it.state != Kept {
			continue
		}
		kept = append(kept, it.String())
		old, ok := p.note.Definitions[it.file]
		if !ok {
			continue
		}
		if changes := old.changes(it.definition); len(changes) > 0 {
			const text = "the file kept for %s has the value of an older definition (generation %d): %s"
			hints = append(hints, fmt.Sprintf(text, it, old.Generation, strings.Join(changes, ", ")))
		}
	}
	if len(kept) == 0 {
		return nil
	}
	from := "the live secrets"
	switch {
	case p.current.Leftover:
		from = "what stage 1 of the boot left"
	case p.current.Number != 0:
		from = fmt.Sprintf("generation %d", p.current.Number)
	}
	return append([]string{fmt.Sprintf("kept from %s: %s", from, strings.Join(kept, ", "))}, hints...)
}

// affected are the units that have to see the changes, with those that the run before this one
// did not come to tell. After a boot, where there was no generation yet, nothing runs that could
// have old secrets.
func (p *plan) affected() units.Sets {
	if p.noUnits || p.current == nil || p.current.Leftover {
		return units.Sets{}
	}
	var changed []manifest.Placement
	for _, it := range p.items {
		if it.state == Changed {
			changed = append(changed, it.place)
		}
	}
	return units.Affected(changed).Union(p.note.Pending)
}

// noteFor is the note of the generation that the plan becomes, with what is still to be done for
// it.
func (p *plan) noteFor(number uint64, pending units.Sets, stale []string) ([]byte, error) {
	n := note{Definitions: make(map[string]definition), Pending: pending, StaleLinks: stale}
	n.Links, _ = p.links()
	for _, it := range p.items {
		def := it.definition
		def.Generation = number
		switch it.state {
		case Failed:
			continue
		case Kept:
			old, ok := p.note.Definitions[it.file]
			if !ok {
				continue
			}
			def = old
		case Changed, Unchanged:
		}
		n.Definitions[it.file] = def
	}
	return json.Marshal(n)
}
