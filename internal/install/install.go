package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/units"
)

// Program is the name under which messages are printed.
const Program = "sops-install-secrets"

// CheckMode says how far a manifest is checked instead of being installed.
type CheckMode string

// The values of CheckMode.
const (
	CheckOff      CheckMode = "off"
	CheckManifest CheckMode = "manifest"
	CheckSopsFile CheckMode = "sopsfile"
)

// Options are what the command line says.
type Options struct {
	Manifest string // path
	Check    CheckMode
	// IgnorePasswd gives everything to root:root and looks up no names: users may not be there yet.
	IgnorePasswd bool
	// Strict installs everything or nothing.
	Strict bool
}

// Installer installs manifests on a machine.
type Installer struct {
	Env     cli.Env
	System  System
	Resolve func(context.Context, resolve.Request) *resolve.Result
	// ActivationDir is where switch-to-configuration looks for lists of units: /run/nixos.
	ActivationDir string
}

// Run does what o asks for. The report is nil where nothing came to be planned: a check, or an error before. With an error the
// report is about what was done nevertheless.
func (in Installer) Run(ctx context.Context, o Options) (*Report, error) {
	m, err := manifest.Read(o.Manifest)
	if err != nil {
		return nil, err
	}
	switch o.Check {
	case CheckManifest:
		return nil, resolve.Check(request(m, in.Env.Getenv), resolve.CheckManifest)
	case CheckSopsFile:
		return nil, resolve.Check(request(m, in.Env.Getenv), resolve.CheckSopsFile)
	case CheckOff:
	}
	if err := expandRuntimeDir(m, in.Env.Getenv); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", o.Manifest, err)
	}
	if in.Env.Getenv("NIXOS_ACTION") == "dry-activate" {
		return in.preview(ctx, m)
	}
	return in.install(ctx, m, o)
}

// preview says what an installation would change, and changes nothing but the lists for the dry activation.
func (in Installer) preview(ctx context.Context, m *manifest.Manifest) (*Report, error) {
	current, err := generation.Current(m.SecretsMountPoint, m.SymlinkPath)
	if err != nil {
		return nil, err
	}
	defer current.Close()
	p, err := in.newPlan(ctx, m, current)
	if err != nil {
		return nil, err
	}
	p.compare()
	in.tell(p)
	affected := p.affected()
	report := p.report(0, true, affected)
	if !in.viaSystemctl() {
		return report, errors.Join(p.err(), units.WriteLists(in.ActivationDir, true, affected))
	}
	for _, unit := range affected.Restart {
		fmt.Fprintln(in.Env.Stderr, "would restart "+unit)
	}
	for _, unit := range affected.Reload {
		fmt.Fprintln(in.Env.Stderr, "would reload "+unit)
	}
	return report, p.err()
}

func (in Installer) install(ctx context.Context, m *manifest.Manifest, o Options) (*Report, error) {
	store, err := generation.Lock(ctx, in.config(m, o), func() {
		fmt.Fprintf(in.Env.Stderr, "%s: waiting for another run to end\n", Program)
	})
	if errors.Is(err, fs.ErrPermission) && !m.UserMode {
		err = cli.WithHint(err, "secrets of the system are installed by root; an ordinary user's manifest has userMode")
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	current, err := store.Current()
	if err != nil {
		return nil, err
	}
	p, err := in.newPlan(ctx, m, current)
	if err != nil {
		return nil, err
	}
	in.tell(p)
	if !o.IgnorePasswd && !m.UserMode {
		in.findOwners(p)
	}
	p.compare()
	if o.Strict && len(p.faults) > 0 {
		err := cli.WithHint(errors.Join(p.faults...), unchangedHint(current))
		return p.refused(), err
	}
	report, err := in.switchTo(ctx, store, p)
	if report == nil {
		return nil, cli.WithHint(errors.Join(errors.Join(p.faults...), err), unchangedHint(current))
	}
	return report, errors.Join(p.err(), err)
}

func unchangedHint(current *generation.Generation) string {
	if current == nil || current.Number == 0 {
		return "nothing was installed"
	}
	return fmt.Sprintf("the secrets of generation %d stay in place", current.Number)
}

// switchTo makes the plan the live generation. The report is nil if that did not come about; after that an error is about
// links, units or old generations, and the rest is done.
func (in Installer) switchTo(ctx context.Context, store *generation.Store, p *plan) (*Report, error) {
	if err := store.Mount(); err != nil {
		return nil, err
	}
	draft, err := store.Begin()
	if err != nil {
		return nil, err
	}
	affected := p.affected()
	pending, err := p.noteFor(draft.Number, affected)
	if err != nil {
		return nil, err
	}
	if err := p.write(draft); err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	if err := draft.Publish(pending); err != nil {
		return nil, err
	}
	err = errors.Join(p.placeLinks(store), in.tellUnits(ctx, store, p, draft.Number, affected), store.Prune(p.manifest.KeepGenerations))
	return p.report(draft.Number, false, affected), err
}

// write writes all files of the generation.
func (p *plan) write(draft *generation.Draft) error {
	for _, it := range p.items {
		var err error
		switch it.state {
		case Changed, Unchanged:
			err = draft.Write(it.file, generation.File{Data: it.value, Mode: it.place.Mode, UID: it.uid, GID: it.gid})
		case Kept:
			err = draft.Write(it.file, *it.old)
		case Failed:
			continue
		}
		if err == nil && p.linkIsInside(it) {
			err = draft.Symlink(p.target(it), strings.TrimPrefix(it.place.Path, p.manifest.SymlinkPath+"/"), it.uid, it.gid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellUnits asks for the restarts and reloads, and notes that this is done. A failure is not tried again by the next run: a
// unit that does not exist would fail for ever.
func (in Installer) tellUnits(ctx context.Context, store *generation.Store, p *plan, number uint64, affected units.Sets) error {
	if affected.Empty() {
		return nil
	}
	var err error
	if in.viaSystemctl() {
		err = units.Systemctl(ctx, in.System.Systemctl, affected)
	} else {
		err = units.WriteLists(in.ActivationDir, false, affected)
	}
	err = cli.WithHint(err, fmt.Sprintf("generation %d is live; restart or reload by hand: %s", number,
		strings.Join(slices.Concat(affected.Restart, affected.Reload), " ")))
	note, noteErr := p.noteFor(number, units.Sets{})
	if noteErr == nil {
		noteErr = store.Annotate(number, note)
	}
	return errors.Join(err, noteErr)
}

func (in Installer) viaSystemctl() bool {
	return in.Env.Getenv("SOPS_RESTART_UNITS_VIA_SYSTEMCTL") == "1"
}

// tell prints what is known about the keys.
func (in Installer) tell(p *plan) {
	for _, w := range p.warnings {
		cli.Warn(in.Env, Program, "%s", w)
	}
	if !p.manifest.Logging.KeyImport {
		return
	}
	for _, n := range p.notes {
		fmt.Fprintf(in.Env.Stderr, "%s: %s\n", Program, n)
	}
}
