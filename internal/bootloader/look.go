package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// LookOptions say what is looked at.
type LookOptions struct {
	// Boots are the boot directories.
	Boots []string
	// Variables is where those of the firmware are, which can start a kernel of the first
	// directory.
	Variables string
	// Deep compares every image with the initrd of its system as well.
	Deep bool
	Hook initrdsecrets.Options

	opener initrdsecrets.Opener
}

// Look reads the menus of all loaders in boot directories and compares the images of their entries
// with the systems' manifests. It needs no key. Where there is no entry at all, it says what it
// looked for.
func Look(ctx context.Context, o LookOptions) (*Status, error) {
	s := newStatus()
	for n, boot := range o.Boots {
		variables := o.Variables
		if n > 0 {
			variables = ""
		}
		if err := s.look(ctx, boot, variables, &o); err != nil {
			return nil, err
		}
	}
	for _, list := range []*[]string{&s.Leftovers, &s.Temporary} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if variable, description := nextOf(o.Variables); variable != "" {
		s.Next = fmt.Sprintf("%.8s (%s)", variable, description)
	}
	if l := o.opener.Lockout; l != nil {
		s.Lockout = &Lockout{l.Failures, l.Max, l.Locked(), l.Near()}
	}
	bad := func(o OddFile) bool { return !o.nothing }
	lacks := func(e EntryStatus) bool { return e.Lacks }
	s.OK = !slices.ContainsFunc(s.Unreadable, bad) && !slices.ContainsFunc(s.Entries, lacks)
	return s, nil
}

// look adds what one boot directory has.
func (s *Status) look(ctx context.Context, boot, variables string, o *LookOptions) error {
	d, err := OpenDir(boot)
	if err != nil {
		return cli.WithHint(err, mounted)
	}
	defer func() { _ = d.Close() }() // only read from
	menus, err := menusOf(d, variables)
	if err != nil {
		return err
	}
	found := false
	scan := newScan(d)
	for _, m := range menus {
		for _, e := range m.Entries {
			status, err := look(ctx, m, e, o)
			status.Boot = boot
			if err != nil {
				name := fmt.Sprintf("entry %q of %s", e.Title, m.Kind)
				s.Unreadable = append(s.Unreadable, oddFile(name, err))
			} else {
				s.Entries = append(s.Entries, status)
			}
			scan.add(e)
			found = true
		}
		scan.foreign(m)
		for _, odd := range m.Odd {
			s.Unreadable = append(s.Unreadable, oddFile(odd.File, odd.Err))
			found = true
		}
	}
	if !found {
		return nothingFound(d)
	}
	leftovers, temporary := scan.files(ctx)
	s.Leftovers, s.Temporary = append(s.Leftovers, leftovers...), append(s.Temporary, temporary...)
	return nil
}

// menusOf reads all menus of a boot directory, and with variables those of the firmware.
func menusOf(d *Dir, variables string) ([]*Menu, error) {
	menus, err := Find(d)
	if err != nil {
		return nil, err
	}
	for _, l := range table() {
		if l.firmware == nil || variables == "" {
			continue
		}
		m := &Menu{Kind: l.kind, dir: d}
		if err := l.firmware(m, variables); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		menus = append(menus, m)
	}
	return menus, nil
}

const mounted = "is the boot partition mounted, and is --boot right?"

// nothingFound says what was looked for.
func nothingFound(d *Dir) error {
	hints := []string{mounted, "looked for:"}
	for _, l := range table() {
		for _, pattern := range l.files {
			hints[1] += " " + pattern
		}
	}
	what := "has no boot entry of NixOS"
	if files, err := d.list("."); err == nil && len(files) == 0 {
		what = "is empty"
	}
	return cli.WithHint(fmt.Errorf("boot directory %s: %s", d.path, what), hints...)
}

// look compares one entry with its system.
func look(ctx context.Context, m *Menu, e Entry, o *LookOptions) (EntryStatus, error) {
	system := Open(e.Toplevel)
	s := EntryStatus{
		Loader: m.Kind, Title: e.Title, Default: e.Default, System: system.Toplevel, State: NoFile,
		Compared: system.Manifest != "", Embedded: e.Embedded,
	}
	wanted := system.Appender != "" && !wantsNone(system)
	pristine, _ := os.Stat(system.initrd())
	for _, image := range slices.Backward(e.Initrds) {
		if s.Image == "" {
			s.Image = image
		}
		info, err := os.Stat(image)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.Mode().IsRegular() {
			err = &fs.PathError{Op: "open", Path: image, Err: errNoRegular}
		}
		if err != nil {
			return s, err
		}
		state, err := s.compare(ctx, system, image, o.Hook)
		if err != nil {
			return s, err
		}
		if state == NoSecrets && len(e.Initrds) == 1 && pristine != nil && info.Size() < pristine.Size() {
			state = CutShort
		}
		if s.State == NoFile || state != NoSecrets {
			s.State = state
		}
		if state != NoSecrets {
			s.Image = image
			break
		}
	}
	if err := s.unseal(ctx, system, o); err != nil {
		return s, err
	}
	return s, s.judge(ctx, system, e, wanted, o.Deep)
}

// unseal finds out whether what an image has is sealed, and whether it opens here and now.
func (s *EntryStatus) unseal(ctx context.Context, system System, o *LookOptions) error {
	if s.State != Whole && s.State != Stale && s.State != Extra {
		return nil
	}
	r, size, closer, err := openImage(s.Image, s.Embedded)
	if err != nil {
		return err
	}
	defer func() { _ = closer.Close() }() // only read from
	i, err := initrd.NewImage(r, size)
	if err != nil {
		return err
	}
	credentials, err := initrdsecrets.Credentials(ctx, i)
	if err != nil {
		return err
	}
	s.Opens, err = o.opener.Ask(ctx, system.Manifest, credentials, o.Hook)
	s.Sealed = s.Opens != initrdsecrets.NotSealed
	if err != nil {
		s.Refusal = err.Error()
	}
	if s.Opens == initrdsecrets.DoesNotOpen && s.State == Whole {
		s.State = Sealed
	}
	return ctx.Err()
}

// judge decides what the state means.
func (s *EntryStatus) judge(ctx context.Context, system System, e Entry, wanted, deep bool) error {
	if s.State != NoFile {
		readable, err := hostfile.Readable(s.Image)
		if err != nil {
			return err
		}
		s.Readable = readable && s.State != NoSecrets && s.State != CutShort
	}
	switch {
	case system.Gone():
		s.State = Gone
		return nil
	case !wanted && s.State == NoSecrets:
		s.State = NoneNeeded
	default:
		s.Lacks = s.State != Whole
		if s.State == NoSecrets && initrdsecrets.NoKeyYet(system.Manifest) {
			s.State = NotYet
		}
	}
	if deep && !s.Lacks {
		same, err := sameBase(ctx, system, e)
		if err != nil {
			s.Problem = err.Error()
		}
		if !same {
			s.State, s.Lacks = OtherBase, true
		}
	}
	return nil
}

// compare says what one image has of the secrets of a system.
func (s *EntryStatus) compare(
	ctx context.Context, system System, image string, o initrdsecrets.Options,
) (State, error) {
	state, err := verify(ctx, system.Manifest, image, s.Embedded, o)
	if err != nil { // a file of the host that the manifest names is gone, for example
		s.Problem, s.Compared = err.Error(), false
		if state, err = verify(ctx, "", image, s.Embedded, o); err != nil {
			return "", err
		}
	}
	switch state {
	case initrdsecrets.Whole:
		return Whole, nil
	case initrdsecrets.Stale:
		return Stale, nil
	case initrdsecrets.Surplus:
		return Extra, nil
	case initrdsecrets.Unknown:
		return Unknown, nil
	case initrdsecrets.Damaged:
		return Damaged, nil
	case initrdsecrets.Missing, initrdsecrets.OtherBase: // the base is compared by --deep
	}
	return NoSecrets, nil
}

func verify(
	ctx context.Context, manifest, image string, embedded bool, o initrdsecrets.Options,
) (initrdsecrets.State, error) {
	if !embedded {
		state, _, err := initrdsecrets.Verify(ctx, manifest, image, o)
		return state, err
	}
	r, size, closer, err := EmbeddedInitrd(image)
	if err != nil {
		return "", err
	}
	defer func() { _ = closer.Close() }() // only read from
	state, _, err := initrdsecrets.VerifyReader(ctx, manifest, r, size, o)
	return state, err
}
