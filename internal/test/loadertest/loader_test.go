package loadertest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// Loader is the re-enactment of a boot loader's installer and of how the loader reads what it
// installed.
type Loader interface {
	Name() string
	// Install does what "switch-to-configuration boot" has the installer do. An error is an exit
	// status other than 0.
	Install(w *World) error
	// Entry finds what the loader would boot for a generation.
	Entry(w *World, g *Generation) (Entry, error)
	// Joined is the buffer that the kernel gets for these initrds.
	Joined(initrds [][]byte) []byte
	// InPlaceUntouched says whether a rebuild without change may leave the installed file alone, so
	// that its inode stays.
	InPlaceUntouched() bool
}

// Entry is a boot entry: the files that are loaded as initrds, one behind the other.
type Entry struct {
	Initrds []string
}

// errNoEntry says that a generation is not in the menu, or that its files are not there or refused.
var errNoEntry = errors.New("does not boot")

// errInstall is how an installer ends that gives up.
type installError struct{ text string }

func (e installError) Error() string { return e.text }

// runAppender runs a generation's appender as an installer does: with the environment of a
// transient unit.
func (w *World) runAppender(g *Generation, image string, umask int) error {
	w.Cut("run the appender on " + filepath.Base(image))
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("umask %s; exec %q %q",
		strconv.FormatInt(int64(umask), 8), g.Appender, image))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + w.Temp, "NIXOS_ACTION=boot"}
	out, err := cmd.CombinedOutput()
	w.Log.Write(out)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("start the appender of %s: %w", g.Name, err)
	}
	return err
}

// put copies a file to a place that appears as a whole, as far as installers take care of that.
func (w *World) put(from, to, temp string) error {
	w.Cut("copy to " + filepath.Base(temp))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := copyFile(from, temp); err != nil {
		return err
	}
	return w.rename(temp, to)
}

func (w *World) rename(from, to string) error {
	w.Cut("rename to " + filepath.Base(to))
	return os.Rename(from, to)
}

func (w *World) remove(name string) error {
	w.Cut("remove " + filepath.Base(name))
	return os.Remove(name)
}

func (w *World) write(name string, data []byte) error {
	w.Cut("write " + filepath.Base(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// keepOnly removes all files of a directory but those that are named.
func (w *World) keepOnly(dir string, keep map[string]bool) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if !f.IsDir() && !keep[name] {
			if err := w.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// bootPath is how a menu names a file of the boot directory.
func (w *World) bootPath(name string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(name, w.Boot), "/")
}

// parameters are a generation's kernel parameters.
func (g *Generation) parameters() string { return "init=" + g.Toplevel + "/init loglevel=4" }

// entryOf finds a generation's entry in the installed menu.
func entryOf(kind bootloader.Kind, w *World, g *Generation) (Entry, error) {
	d, err := bootloader.OpenDir(w.Boot)
	if err != nil {
		return Entry{}, errNoEntry
	}
	defer d.Close()
	m, err := bootloader.Read(kind, d)
	if err != nil {
		return Entry{}, errNoEntry
	}
	for _, e := range m.Entries {
		if e.Toplevel != g.Toplevel {
			continue
		}
		for _, i := range e.Initrds {
			if !exists(i) {
				return Entry{}, errNoEntry
			}
		}
		return Entry{Initrds: e.Initrds}, nil
	}
	return Entry{}, errNoEntry
}

// storeName is what installers call a copy of a store file: its directory in the store, a dash, its
// name.
func storeName(path string) string {
	return filepath.Base(filepath.Dir(path)) + "-" + filepath.Base(path)
}

// freeName is a name as mkstemp and its relatives make it: a pattern's X's replaced, not there yet.
func freeName(prefix, suffix string) (string, error) {
	for range 1000 {
		var seed [8]byte
		if _, err := unix.Getrandom(seed[:], 0); err != nil {
			return "", err
		}
		for k := range seed {
			seed[k] = "abcdefghijklmnopqrstuvwxyz0123456789"[int(seed[k])%36]
		}
		name := prefix + string(seed[:]) + suffix
		if !exists(name) {
			return name, nil
		}
	}
	return "", errors.New("no free name")
}

// plain joins initrds as a loader does that gets one file, or adds plain sizes.
func plain(initrds [][]byte) []byte {
	var all []byte
	for _, i := range initrds {
		all = append(all, i...)
	}
	return all
}

// padded joins initrds as GRUB does, each on a 4-byte boundary.
func padded(initrds [][]byte) []byte {
	var all []byte
	for _, i := range initrds {
		all = append(all, i...)
		for len(all)%4 != 0 {
			all = append(all, 0)
		}
	}
	return all
}
