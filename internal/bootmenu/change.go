package bootmenu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// SetInitrds makes entries load other initrds, in place of their last: by the index of an entry, the path on this host. The menu's files are replaced as
// wholes, one after the other; on error those before it are changed. The loader must have a form in which an entry names one
// initrd, or each in a line of its own: extlinux, rEFInd, Boot Loader Specification, the records of a Raspberry Pi's older generations, EFI shell scripts and the
// firmware's boot entries.
func (m *Menu) SetInitrds(initrds map[int]string) error {
	files := make(map[string]map[int]string) // by line
	for i, initrd := range initrds {
		e := m.Entries[i]
		if e.line < 0 {
			return fmt.Errorf("entry %q: its initrd cannot be changed", e.Title)
		}
		name, err := m.menuPath(e.file, initrd)
		if err != nil {
			return err
		}
		if files[e.file] == nil {
			files[e.file] = make(map[int]string)
		}
		files[e.file][e.line] = name
	}
	for _, file := range slices.Sorted(keys(files)) {
		if err := m.rewrite(file, files[file]); err != nil {
			return err
		}
	}
	for i, initrd := range initrds {
		m.Entries[i].Initrds = append(m.Entries[i].Initrds[:len(m.Entries[i].Initrds)-1:len(m.Entries[i].Initrds)-1], initrd)
	}
	return nil
}

// menuPath is how the menu names a file of this host: from the top of the boot partition, or for extlinux relative to its
// configuration, as the stock installer writes it. The records of a Raspberry Pi are for people and name files of this host.
func (m *Menu) menuPath(file, name string) (string, error) {
	if m.Kind == RaspberryPi {
		return filepath.Abs(name)
	}
	from := m.Boot
	if m.Kind == Extlinux {
		from = filepath.Dir(file)
	}
	rel, err := filepath.Rel(from, name)
	if err != nil {
		return "", err
	}
	if m.Kind == Extlinux {
		return rel, nil
	}
	if !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is not below %s", name, m.Boot)
	}
	if m.Kind == EFIStub {
		return `\` + strings.ReplaceAll(rel, "/", `\`), nil
	}
	return "/" + rel, nil
}

var (
	// initrdValue is the last word of a line that names an initrd.
	initrdValue = pattern.New(`\S+\s*$`)
	// initrdParameter is the parameter with which the kernel's own EFI loader is told of one.
	initrdParameter = pattern.New(`(^|\s)initrd=(\S+)`)
)

// withInitrd names another initrd in kernel parameters.
func withInitrd(parameters, initrd string) string {
	return initrdParameter().ReplaceAllString(parameters, "${1}initrd="+strings.ReplaceAll(initrd, "$", "$$"))
}

func (m *Menu) rewrite(file string, lines map[int]string) error {
	if strings.HasSuffix(file, variableGUID) {
		return rewriteVariable(file, lines[0])
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	text := strings.Split(string(data), "\n")
	for n, initrd := range lines {
		if m.Kind == EFIStub {
			text[n] = withInitrd(text[n], initrd)
		} else {
			text[n] = initrdValue().ReplaceAllLiteralString(text[n], initrd)
		}
	}
	changed := strings.Join(text, "\n")
	if changed == string(data) {
		return nil
	}
	return atomicfile.WriteFile(atomicfile.OS(), file, []byte(changed), atomicfile.Attr{Mode: info.Mode().Perm(), UID: -1, GID: -1})
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
