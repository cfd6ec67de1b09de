package bootloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// limine is limine, as NixOS's limine-install.py (nixpkgs 47e400a9) writes its menu. That
// installer calls every system's appender, but goes on when it fails: then the entry has no module
// with secrets. And what an entry loads is a second copy of the module, made once and never again,
// while the sum in the menu is that of the first copy.
func limine() loader {
	return loader{
		kind:   Limine,
		form:   "limine/limine.conf",
		files:  []string{"limine/limine.conf"},
		chosen: chosenNumber,
		read: lines(func(p *parser, n int, word, rest, line string) {
			switch {
			case word == "default_entry:":
				p.menu.preferred = rest
			case strings.HasPrefix(word, "/"):
				p.number = max(p.number, 1) // limine counts from 1
				p.begin(strings.TrimLeft(strings.TrimSpace(line), "/+"))
			case word == "cmdline:":
				p.options(rest)
			case word == "module_path:": // boot():/limine/kernels/…#hash
				for _, name := range names(rest) {
					_, name, _ = strings.Cut(name, ":")
					name, _, _ = strings.Cut(name, "#")
					p.initrd(n, name)
				}
			}
		}),
		aim: func(r *run, o *initrdsecrets.Options) string {
			first, second := limineModules(r.dir, r.fallback)
			o.Base, o.Enclose, o.Installed = "", true, r.dir.host(limineKernels)
			o.Replaces = []string{second, first}
			return filepath.Join(r.temp, filepath.Base(first))
		},
		finish: finishLimine,
	}
}

const (
	limineKernels = "limine/kernels"
	// secretsSuffix ends the names of the modules with secrets.
	secretsSuffix = "-secrets"
)

// limineModules are both copies of a system's module. An entry loads the second.
func limineModules(d *Dir, s System) (first, second string) {
	name := s.Name() + secretsSuffix
	return d.host(path.Join(limineKernels, name)),
		d.host(path.Join(limineKernels, path.Base(limineKernels)+"-"+name))
}

// finishLimine renews second copies that are out of date, and finds entries that lack their
// secrets.
func finishLimine(ctx context.Context, r *run, menu *Menu) error {
	var faults []error
	for _, e := range menu.Entries {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(faults, err)...)
		}
		if s := Open(e.Toplevel); s.Appender != "" {
			faults = append(faults, r.report(s, r.limineEntry(ctx, e, s)))
		}
	}
	return errors.Join(faults...)
}

func (r *run) limineEntry(ctx context.Context, e Entry, s System) error {
	module := ""
	for _, i := range e.Initrds {
		if strings.HasSuffix(i, secretsSuffix) {
			module = i
		}
	}
	if module == "" {
		if wantsNone(s) {
			return nil
		}
		fault := fmt.Errorf("the entry %q has no initrd secrets: "+
			"the installer ignored that they could not be made", e.Title)
		if r.Hook.SkipNoKey { // the appender has said loudly that there is no key yet, or failed
			r.Hook.Warn(fault.Error())
			return nil
		}
		return fault
	}
	first, second := limineModules(r.dir, s)
	if second == module { // nothing else is renewed: an entry may name any file
		if err := r.refresh(first, second); err != nil {
			return fmt.Errorf("renew the module of the entry %q: %w", e.Title, err)
		}
	}
	if rel, ok := r.dir.below(module); !ok {
		return fmt.Errorf("the module %s of the entry %q is not below %s", module, e.Title, r.dir.path)
	} else if _, err := r.dir.ours(rel); err != nil {
		return fmt.Errorf("the module of the entry %q: %w", e.Title, err)
	}
	state, wanted, err := initrdsecrets.Verify(ctx, s.Manifest, module, r.Hook)
	if err != nil {
		return err
	}
	if s.Manifest != "" && !state.Fine(wanted) {
		return fmt.Errorf("the initrd secrets of the entry %q are %s", e.Title, state)
	}
	return nil
}

// wantsNone says whether a system has an appender that appends nothing.
func wantsNone(s System) bool {
	if s.Manifest == "" {
		return false
	}
	m, err := initrdsecrets.Check(s.Manifest, initrdsecrets.CheckOptions{ManifestOnly: true})
	return err == nil && len(m.Entries) == 0
}

// refresh replaces the second copy of a file where it differs from the first. Without a first
// there is nothing to go by.
func (r *run) refresh(first, second string) error {
	want, err := r.dir.read(first)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	got, err := r.dir.read(second)
	if err != nil || bytes.Equal(got, want) {
		return err
	}
	attr := atomicfile.Attr{Mode: 0o600, UID: -1, GID: -1}
	return atomicfile.WriteFile(atomicfile.OS(), second, want, attr)
}

// read reads a file of the boot directory that is reached without links.
func (d *Dir) read(name string) ([]byte, error) {
	rel, ok := d.below(name)
	if !ok {
		return nil, fmt.Errorf("%s is not below %s", name, d.path)
	}
	if _, err := d.ours(rel); err != nil {
		return nil, err
	}
	f, err := d.open(rel)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
