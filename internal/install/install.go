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

// Run does what o asks for. The report is nil where nothing came to be planned: a check, or an
// error before. With an error the report is about what was done nevertheless.
func (in Installer) Run(ctx context.Context, o Options) (*Report, error) {
	m, err := manifest.Read(o.Manifest)
	if err != nil {
		return nil, err
	}
	switch o.Check {
	case CheckManifest:
		return nil, in.check(m, resolve.CheckManifest)
	case CheckSopsFile:
		return nil, in.check(m, resolve.CheckSopsFile)
	case CheckOff:
	}
	dry := in.Env.Getenv("NIXOS_ACTION") == "dry-activate"
	err = m.ExpandRuntimeDir(func() (string, error) { return memoryDir(in.Env.Getenv, !dry) })
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", o.Manifest, err)
	}
	if dry {
		return in.preview(ctx, m)
	}
	return in.install(ctx, m, o)
}

// check finds what can be found wrong without keys, and on another machine.
func (in Installer) check(m *manifest.Manifest, level resolve.Level) error {
	req := request(m, in.Env.Getenv)
	req.Files = new(resolve.Files)
	err := resolve.Check(req, level)
	if level == resolve.CheckSopsFile {
		for _, w := range resolve.Warnings(req) {
			cli.Warn(in.Env, Program, "%s", w)
		}
	}
	anybodys := func() (string, error) { return "/run/user/1000", nil }
	if err := m.ExpandRuntimeDir(anybodys); err != nil {
		return err
	}
	p := &plan{manifest: m, items: items(m)}
	p.checkPlaces()
	return errors.Join(err, errors.Join(p.faults...))
}

// preview says what an installation would change, and changes nothing but the lists for the dry
// activation.
func (in Installer) preview(ctx context.Context, m *manifest.Manifest) (*Report, error) {
	if err := in.provideAgeKey(m, true); err != nil {
		return nil, err
	}
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
	if in.systemctl(m) == nil {
		return report, errors.Join(p.err(), units.WriteLists(in.ActivationDir, true, affected))
	}
	for _, job := range affected.Jobs() {
		for _, unit := range job.Units {
			fmt.Fprintln(in.Env.Stderr, cli.Visible("would "+job.Name+" "+unit))
		}
	}
	return report, p.err()
}

func (in Installer) install(ctx context.Context, m *manifest.Manifest, o Options) (*Report, error) {
	store, err := generation.Lock(ctx, in.config(ctx, m, o), func() {
		cli.Note(in.Env, Program, "waiting for another run to end")
	})
	if errors.Is(err, fs.ErrPermission) && !m.UserMode {
		err = cli.WithHint(err,
			"secrets of the system are installed by root; an ordinary user's manifest has userMode")
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := in.provideAgeKey(m, false); err != nil {
		return nil, err
	}
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
		in.findOwners(ctx, p)
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

// switchTo makes the plan the live generation. The report is nil if that did not come about;
// after that an error is about links, units or old generations, and the rest is done.
func (in Installer) switchTo(ctx context.Context, store *generation.Store, p *plan) (*Report, error) {
	if err := store.Mount(); err != nil {
		return nil, err
	}
	draft, err := store.Begin()
	if err != nil {
		return nil, err
	}
	affected := p.affected()
	_, stale := p.links()
	pending, err := p.noteFor(draft.Number, affected, stale)
	if err != nil {
		return nil, err
	}
	if err := p.write(draft); err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("write generation %d: %w", draft.Number, err), draft.Discard())
	}
	if err := draft.Publish(pending); err != nil {
		return nil, err
	}
	errs := []error{p.placeLinks(store)}
	staleLeft, err := p.removeLinks(store)
	errs = append(errs, err)
	unitsLeft, err := in.tellUnits(ctx, in.systemctl(p.manifest), draft.Number, affected)
	errs = append(errs, err)
	if !affected.Empty() || len(stale) > 0 {
		done, err := p.noteFor(draft.Number, unitsLeft, staleLeft)
		if err == nil {
			err = store.Annotate(draft.Number, done)
		}
		errs = append(errs, err)
	}
	errs = append(errs, store.Prune(p.manifest.KeepGenerations))
	return p.report(draft.Number, false, affected), errors.Join(errs...)
}

// write writes all files of the generation.
func (p *plan) write(draft *generation.Draft) error {
	for _, it := range p.items {
		var err error
		switch it.state {
		case Changed, Unchanged:
			file := generation.File{Data: it.value, Mode: it.place.Mode, UID: it.uid, GID: it.gid}
			err = draft.Write(it.file, file)
		case Kept:
			err = draft.Write(it.file, *it.old)
		case Failed:
			continue
		}
		if err == nil && p.linkIsInside(it) {
			name := strings.TrimPrefix(it.place.Path, p.manifest.SymlinkPath+"/")
			err = draft.Symlink(p.target(it), name, it.uid, it.gid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellUnits asks for the restarts and reloads, and returns those that the next run has to ask for
// because a signal came first. Another failure is not tried again: a unit that does not exist
// would fail for ever.
func (in Installer) tellUnits(
	ctx context.Context, systemctl systemctl, number uint64, affected units.Sets,
) (left units.Sets, err error) {
	if affected.Empty() {
		return units.Sets{}, nil
	}
	if systemctl == nil {
		err = units.WriteLists(in.ActivationDir, false, affected)
	} else if err = units.Systemctl(ctx, systemctl, affected); ctx.Err() != nil {
		hint := fmt.Sprintf("generation %d is live; the next run asks for the restarts and reloads", number)
		return affected, cli.WithHint(errors.Join(ctx.Err(), err), hint)
	}
	list := strings.Join(slices.Concat(affected.Restart, affected.Reload), " ")
	hint := fmt.Sprintf("generation %d is live; restart or reload by hand: %s", number, list)
	return units.Sets{}, cli.WithHint(err, hint)
}

// systemctl runs systemctl with the given arguments.
type systemctl func(ctx context.Context, args ...string) error

// systemctl is what units are restarted with; nil leaves it to switch-to-configuration. Units of a
// user belong to the user's systemd, as the secrets do.
func (in Installer) systemctl(m *manifest.Manifest) systemctl {
	if m.UserMode {
		runtimeDir := userManager(in.Env.Getenv)
		return func(ctx context.Context, args ...string) error {
			return in.System.Systemctl(ctx, runtimeDir, append([]string{"--user"}, args...)...)
		}
	}
	if in.Env.Getenv("SOPS_RESTART_UNITS_VIA_SYSTEMCTL") != "1" {
		return nil
	}
	return func(ctx context.Context, args ...string) error {
		return in.System.Systemctl(ctx, "", args...)
	}
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
		cli.Note(in.Env, Program, "%s", n)
	}
}
