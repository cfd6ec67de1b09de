package bootmenu

import (
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxSection bounds the sections with texts.
const maxSection = 64 << 10

// image reads the entry that a stub of lanzaboote or a unified kernel image is. A stub names its initrd in a section
// (lanzaboote, rust/tool/shared/src/pe.rs: .initrd, earlier .initrdp); a unified kernel image has it in the section .initrd.
func (m *Menu) image(file string) ([]Entry, error) {
	f, err := pe.Open(file)
	if err != nil {
		return nil, nil //nolint:nilerr // not a PE image, so nothing that could be booted
	}
	defer func() { _ = f.Close() }() // only read from
	cmdline, err := text(f, ".cmdline")
	if err != nil {
		return nil, err
	}
	init := initOf().FindStringSubmatch(cmdline)
	if init == nil {
		return nil, nil
	}
	e := Entry{Title: strings.TrimSuffix(path.Base(file), ".efi"), Toplevel: init[1], file: file, line: -1}
	for _, section := range []string{".initrdp", ".initrd"} {
		s := f.Section(section)
		if s == nil {
			continue
		}
		if s.Size > maxSection {
			e.Initrds, e.Embedded = []string{file}, true
			break
		}
		name, err := text(f, section)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, `\`) || strings.HasPrefix(name, "/") {
			e.Initrds = []string{m.host(file, name)}
		} else {
			e.Initrds, e.Embedded = []string{file}, true
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
		return nil, 0, nil, errors.Join(fmt.Errorf("unified kernel image %s: has no initrd", file), f.Close())
	}
	size = int64(s.Size)
	if s.VirtualSize > 0 && int64(s.VirtualSize) < size {
		size = int64(s.VirtualSize) // without the padding of the file
	}
	return s.ReaderAt, size, f, nil
}

func text(f *pe.File, section string) (string, error) {
	s := f.Section(section)
	if s == nil {
		return "", nil
	}
	if s.Size > maxSection {
		return "", fmt.Errorf("section %s has %d bytes", section, s.Size)
	}
	data, err := s.Data()
	return strings.TrimRight(string(data), "\x00"), err
}
