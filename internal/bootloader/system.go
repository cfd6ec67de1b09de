package bootloader

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// The names that NixOS and this project's module use in a system and in the package of its
// appender.
const (
	appenderName = "append-initrd-secrets"
	manifestName = "manifest.json"
)

// System is what a boot entry starts: a NixOS configuration in the store.
type System struct {
	Toplevel string
	// Appender puts the system's secrets into an image; "" when it has none.
	Appender string
	// Manifest is that of the appender, if it is one of this project; else "".
	Manifest string
}

// Gone says that the system is not in the store any more.
func (s System) Gone() bool {
	_, err := os.Stat(s.Toplevel)
	return err != nil
}

// Name is the system's name in the store.
func (s System) Name() string { return filepath.Base(s.Toplevel) }

// initrd is the system's pristine initrd.
func (s System) initrd() string { return filepath.Join(s.Toplevel, "initrd") }

// Open finds what belongs to a system.
func Open(toplevel string) System {
	s := System{Toplevel: absolute(toplevel)}
	appender, err := filepath.EvalSymlinks(filepath.Join(s.Toplevel, appenderName))
	if err != nil {
		return s
	}
	s.Appender = appender
	// The link in a system points to PACKAGE/bin/append-initrd-secrets, or to PACKAGE in some
	// versions.
	for _, dir := range []string{filepath.Dir(filepath.Dir(appender)), filepath.Dir(appender)} {
		manifest := filepath.Join(dir, manifestName)
		if info, err := os.Stat(manifest); err == nil && info.Mode().IsRegular() {
			s.Manifest = manifest
			break
		}
	}
	return s
}

// absolute is the one name of a file: from the root, without links.
func absolute(name string) string {
	name = real(name)
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return name
}

// trusted makes sure that nobody but root, or this user, can have written a program or put it
// where it is. Which systems there are is read from a menu on the boot partition, which others may
// be able to write; what is run as root must not be theirs.
func trusted(program string) error {
	who, err := hostfile.Replacers(program)
	if err == nil && who != "" {
		err = fmt.Errorf("%s is not run: %s", program, who)
	}
	return err
}
