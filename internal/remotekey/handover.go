package remotekey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrHandOver means that only the full program can go on: see HandOver.
var ErrHandOver = errors.New("the full program is needed")

// fullDirectory is where the full programs lie, seen from the directory of the small ones. Builds
// may set it (-ldflags -X).
var fullDirectory = "../libexec/sops-initrd"

// full finds the full program.
func full() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(fullDirectory, filepath.Base(os.Args[0]))
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(self), path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", errors.New("this program was built without the clients of clouds and vaults, and the full one, " +
			path + ", is not there")
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return "", fmt.Errorf("the full program %s cannot be executed", path)
	}
	// Were the small program in the full one's place it would become itself for ever.
	if own, err := os.Stat(self); os.Args[0] == path || err == nil && os.SameFile(own, info) {
		return "", fmt.Errorf("%s should be the full program, and is the one without the clients of clouds and vaults", path)
	}
	return path, nil
}

// Available says why no key outside this host can be asked for here, as far as that shows without
// asking.
func Available() error {
	if !Small {
		return nil
	}
	_, err := full()
	return err
}

// AuditLog is ErrHandOver where the host may want a record of everything that is decrypted, in a
// database, or says why the full program, which has sops's client of that, cannot be had.
func AuditLog() error {
	const settings = "/etc/sops/audit.yaml"
	if _, err := os.Stat(settings); !Small || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := Available(); err != nil {
		return fmt.Errorf("%s asks for a record of what is decrypted: %w", settings, err)
	}
	return ErrHandOver
}

// HandOver makes this process the full program, with the same arguments and environment; it returns
// only when that failed. Whoever calls it has read nothing of standard input and has no program
// running.
func HandOver(ctx context.Context) error {
	path, err := full()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	err = syscall.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ())
	return fmt.Errorf("hand over to the full program: %s: %w", path, err)
}
