package bootloader

import (
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// maxSection bounds the sections with texts. The kernel takes at most 2 kB of parameters on most
// platforms, and none takes 64 kB.
const maxSection = 64 << 10

// lanzaboote is what systemd-boot finds in EFI/Linux: stubs of lanzaboote and unified kernel
// images. A stub names its initrd in a section (lanzaboote, rust/tool/shared/src/pe.rs: .initrd,
// earlier .initrdp). A unified kernel image has it in the section .initrd.
func lanzaboote() loader {
	return loader{
		kind:    Lanzaboote,
		nothing: installsItself,
		files:   []string{"EFI/Linux/*.efi"},
		read:    readImage,
		chosen:  chosenFile,
		repair:  "remove its stub below EFI/Linux, then " + Repair,
	}
}

// unified takes a unified kernel image that an entry names: the system, unless the entry has
// parameters of its own, and the initrd inside.
func (p *parser) unified(name string) {
	file := p.menu.host(p.file, name)
	rel, ok := p.menu.dir.below(file)
	if !ok {
		return
	}
	f, err := p.menu.dir.open(rel)
	if err != nil {
		p.menu.Odd = append(p.menu.Odd, Odd{p.menu.dir.host(p.file), err})
		return
	}
	entries, err := readImage(p.menu, rel, f)
	if err = errors.Join(err, f.Close()); err != nil {
		p.menu.Odd = append(p.menu.Odd, Odd{file, err})
	}
	for _, e := range entries {
		p.current.Initrds, p.current.Embedded = append(p.current.Initrds, e.Initrds...), e.Embedded
		if p.current.Toplevel == "" {
			p.current.Toplevel = e.Toplevel
		}
	}
}

func readImage(m *Menu, file string, r *os.File) ([]Entry, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, nil //nolint:nilerr // not a PE image, so nothing that could be booted
	}
	cmdline, err := sectionText(f, ".cmdline")
	if err != nil {
		return nil, err
	}
	init := initOf().FindStringSubmatch(cmdline)
	if init == nil {
		return nil, nil
	}
	e := Entry{
		Title: strings.TrimSuffix(path.Base(file), ".efi"), Toplevel: init[1],
		file: file, line: unchangeable,
	}
	for _, section := range []string{".initrdp", ".initrd"} {
		s := f.Section(section)
		if s == nil {
			continue
		}
		e.Initrds, e.Embedded = []string{m.dir.host(file)}, true
		if s.Size > maxSection {
			break
		}
		name, err := sectionText(f, section)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, `\`) || strings.HasPrefix(name, "/") {
			e.Initrds, e.Embedded = []string{m.host(file, name)}, false
		}
		break
	}
	return []Entry{e}, nil
}

// EmbeddedInitrd opens the initrd inside a unified kernel image.
func EmbeddedInitrd(file string) (r io.ReaderAt, size int64, closer io.Closer, err error) {
	f, err := pe.Open(file)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read unified kernel image %s: %w", file, err)
	}
	s := f.Section(".initrd")
	if s == nil {
		err := fmt.Errorf("unified kernel image %s: has no initrd", file)
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	size = int64(s.Size)
	if s.VirtualSize > 0 && int64(s.VirtualSize) < size {
		size = int64(s.VirtualSize) // without the padding of the file
	}
	return s.ReaderAt, size, f, nil
}

func sectionText(f *pe.File, section string) (string, error) {
	s := f.Section(section)
	if s == nil {
		return "", nil
	}
	if s.Size > maxSection {
		return "", fmt.Errorf("section %s has %d bytes, more than %d", section, s.Size, maxSection)
	}
	data, err := s.Data()
	return strings.TrimRight(string(data), "\x00"), err
}
