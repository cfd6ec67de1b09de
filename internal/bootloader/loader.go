package bootloader

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// Kind names a boot loader, or rather the form of its menu.
type Kind string

// The kinds of menus.
const (
	SystemdBoot Kind = "systemd-boot"
	Lanzaboote  Kind = "lanzaboote"
	GRUB        Kind = "grub"
	Limine      Kind = "limine"
	Extlinux    Kind = "extlinux"
	REFInd      Kind = "refind"
	RaspberryPi Kind = "raspberrypi"
	EFIStub     Kind = "efi-boot-stub"
	Listed      Kind = "listed"
	InitScript  Kind = "init-script"
)

// table has a row for each boot loader, in the order in which [Find] looks for them.
func table() []loader {
	return []loader{
		systemdBoot(), lanzaboote(), grub(), limine(), extlinux(),
		refind(), raspberryPi(), efiStub(), listed(), initScript(),
	}
}

// loader is all that is known of a boot loader. Its own file makes it.
type loader struct {
	kind Kind
	// form says in the help of install-loader how the menu is written.
	form string
	// nothing says why install-loader has nothing to do for this loader; "" where it has.
	nothing string
	// files are patterns of the menu's files below the boot directory. FAT does not
	// distinguish upper and lower case, other file systems do.
	files []string
	// read reads the entries of one such file.
	read func(m *Menu, file string, f *os.File) ([]Entry, error)
	// firmware adds entries that are not in files but in the variables of the firmware.
	firmware func(m *Menu, variables string) error
	// chosen marks the entry that is booted by default, where the menu tells.
	chosen func(m *Menu)
	// repair says how to give an entry its secrets again; "" is [Repair].
	repair string
	// protocol says that the installer writes the menu for us, so that every entry is its own.
	protocol bool
	// name is how a file of the menu names an initrd, both given below the boot directory.
	name func(m *Menu, file, initrd string) string
	// rename makes a line of the menu name another initrd. Without it entries cannot be changed.
	rename func(line, initrd string) string
	// aim changes how the secrets of the default are tried before the installer runs, and says
	// for which image.
	aim func(r *run, o *initrdsecrets.Options) (image string)
	// finish adds what the entries lack that the installer wrote.
	finish func(ctx context.Context, r *run, menu *Menu) error
}

// Repair is the command that repairs entries of most loaders.
const Repair = "nixos-rebuild boot"

// rowOf is the row of a kind; one without files or name where the kind is not known.
func rowOf(kind Kind) loader {
	for _, l := range table() {
		if l.kind == kind {
			return l
		}
	}
	return loader{}
}

// Kinds are the kinds whose menus can be read.
func Kinds() (kinds []Kind) {
	for _, l := range table() {
		if l.read != nil {
			kinds = append(kinds, l.kind)
		}
	}
	return kinds
}

// Supported are the kinds that [Install] can do something for.
func Supported() (kinds []string) {
	for _, l := range table() {
		if l.finish != nil {
			kinds = append(kinds, string(l.kind))
		}
	}
	return kinds
}

// Supports says why [Install] can do nothing for a kind; nil where it can.
func Supports(kind Kind) error {
	switch l := rowOf(kind); {
	case l.finish != nil:
		return nil
	case l.nothing != "":
		return fmt.Errorf("loader %q: %s", kind, l.nothing)
	}
	return fmt.Errorf("loader %q is not known (one of %s)", kind, strings.Join(Supported(), ", "))
}

// Forms says how the menus of all supported kinds are written, in lines for a help text.
func Forms() string {
	const indent = 18
	var b strings.Builder
	for _, l := range table() {
		if l.finish != nil {
			lines := strings.ReplaceAll(l.form, "\n", "\n"+strings.Repeat(" ", indent-1))
			fmt.Fprintf(&b, "  %-14s %s\n", l.kind, lines)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}
