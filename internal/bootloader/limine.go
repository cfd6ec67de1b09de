package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/bootmenu"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// secretsSuffix ends the names of limine's modules with secrets.
const secretsSuffix = "-secrets"

func (o Options) limineKernels() string { return filepath.Join(o.Boot, "limine", "kernels") }

// checkLimine looks after what limine-install.py leaves (nixpkgs 47e400a9). It ignores a failing appender: then the entry has no
// module with secrets. And what an entry loads is a second copy of the module, made once and never again: it is brought up to
// date here. The sum in the menu is already that of the first copy.
func (o Options) checkLimine(menu *bootmenu.Menu, fallback System) error {
	var faults []error
	for _, e := range menu.Entries {
		s := Open(e.Toplevel)
		if s.Appender == "" {
			continue
		}
		faults = append(faults, o.report(s, fallback, o.limineEntry(e, s)))
	}
	return errors.Join(faults...)
}

func (o Options) limineEntry(e bootmenu.Entry, s System) error {
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
		fault := fmt.Errorf("the entry %q has no initrd secrets: the installer went on after they could not be made", e.Title)
		if o.Hook.SkipNoKey { // the hook has said loudly that there is no key yet, or failed
			o.Hook.Warn(fault.Error())
			return nil
		}
		return fault
	}
	first := filepath.Join(o.limineKernels(), s.Name()+secretsSuffix)
	if err := refresh(first, module); err != nil {
		return fmt.Errorf("bring the module of the entry %q up to date: %w", e.Title, err)
	}
	state, wanted, err := initrdsecrets.Verify(s.Manifest, module, o.Hook)
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

// refresh replaces the second copy of a file where it differs from the first. Without a first there is nothing to go by.
func refresh(first, second string) error {
	want, err := os.ReadFile(first)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	got, err := os.ReadFile(second)
	if err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	return atomicfile.WriteFile(atomicfile.OS(), second, want, atomicfile.Attr{Mode: 0o600, UID: -1, GID: -1})
}
