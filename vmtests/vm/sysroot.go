package vm

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Sysroot is a directory with unpacked packages that guests take programs from. Paths in it are
// those of the guest; /bin, /sbin, /lib and /lib64 are links into /usr.
type Sysroot string

// FindSysroot looks up the userland that the set-up unpacked.
func FindSysroot() (Sysroot, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "guest")
	if _, err := os.Stat(filepath.Join(dir, "usr/bin")); err != nil {
		return "", err
	}
	return Sysroot(dir), nil
}

// Add adds files to the tree, at their own paths: regular files with the libraries they need, links
// with what they lead to, directories with all that is below them. Patterns of path.Match are
// allowed; one that matches nothing is a fault of the tree.
func (s Sysroot) Add(t *Tree, patterns ...string) {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.Dir("/usr/"+dir, 0o755)
		t.Link("/"+dir, "usr/"+dir)
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(string(s), pattern))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s: %w in %s", pattern, fs.ErrNotExist, s)
		}
		if err != nil {
			t.fail(err)
			return
		}
		for _, file := range found {
			if err := s.add(t, strings.TrimPrefix(file, string(s))); err != nil {
				t.fail(err)
				return
			}
		}
	}
}

// Command runs one of the packages' programs on this machine, with the packages' loader and
// libraries.
func (s Sysroot) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	loaders, err := filepath.Glob(filepath.Join(string(s), "usr/lib/*-linux-gnu*/ld-linux*.so.*"))
	if err != nil {
		return nil, err
	}
	if len(loaders) != 1 {
		return nil, fmt.Errorf("loader in %s: %d files, want one", s, len(loaders))
	}
	file := filepath.Join(string(s), program)
	return exec.CommandContext(ctx, loaders[0],
		append([]string{"--library-path", filepath.Dir(loaders[0]), file}, args...)...), nil
}

func (s Sysroot) add(t *Tree, name string) error {
	name = s.real(name)
	if t.Has(name) {
		return nil
	}
	file := filepath.Join(string(s), name)
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		t.Link(name, target)
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		if err := s.add(t, target); !errors.Is(err, fs.ErrNotExist) {
			return err // a link that leads nowhere here, such as one into /run or /dev, stays one
		}
		return nil
	case fs.ModeDir:
		entries, err := os.ReadDir(file)
		if err != nil {
			return err
		}
		t.Dir(name, uint32(info.Mode().Perm()))
		for _, e := range entries {
			if err := s.add(t, path.Join(name, e.Name())); err != nil {
				return err
			}
		}
		return nil
	default:
	}
	t.Copy(name, file)
	return s.addNeeds(t, file, path.Dir(name))
}

// AddProgram adds a program of the host as name, with the packages' libraries. The host has to have
// the same release of them.
func (s Sysroot) AddProgram(t *Tree, name, file string) {
	t.Copy(name, file)
	if err := s.addNeeds(t, file, path.Dir(name)); err != nil {
		t.fail(err)
	}
}

// addNeeds adds the libraries that file needs. own is the directory where the guest has it.
func (s Sysroot) addNeeds(t *Tree, file, own string) error {
	needs, err := elfNeeds(file)
	if err != nil {
		return err
	}
	for _, need := range needs {
		lib, err := s.library(need, own)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := s.add(t, lib); err != nil {
			return err
		}
	}
	return nil
}

// real gives the path below /usr of what is found through one of the links at the top.
func (s Sysroot) real(name string) string {
	for _, dir := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(name, dir) {
			return "/usr" + name
		}
	}
	return name
}

// library finds a library where the dynamic loader would; own is the directory of the program, for
// private libraries such as systemd's.
func (s Sysroot) library(need, own string) (string, error) {
	if path.IsAbs(need) {
		return need, nil
	}
	for _, dir := range []string{
		"/usr/lib/*-linux-gnu*", "/usr/lib", "/usr/lib64", "/usr/lib/systemd",
		"/usr/lib/*-linux-gnu*/systemd", own,
	} {
		found, err := filepath.Glob(filepath.Join(string(s), dir, need))
		if err == nil && len(found) > 0 {
			return strings.TrimPrefix(found[0], string(s)), nil
		}
	}
	return "", fmt.Errorf("library %s: %w in %s", need, fs.ErrNotExist, s)
}

// elfNeeds lists the libraries and the loader that a program needs; nothing for other files.
func elfNeeds(file string) ([]string, error) {
	f, err := elf.Open(file)
	var notELF *elf.FormatError
	if errors.As(err, &notELF) {
		return nil, nil
	}
	if err != nil {
		if info, statErr := os.Stat(file); statErr == nil && info.Size() < 64 {
			return nil, nil // too short for a header
		}
		return nil, err
	}
	defer f.Close()
	needs, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			loader := make([]byte, p.Filesz-1) // without its NUL
			if _, err := p.ReadAt(loader, 0); err != nil {
				return nil, err
			}
			needs = append(needs, string(loader))
		}
	}
	return needs, nil
}
