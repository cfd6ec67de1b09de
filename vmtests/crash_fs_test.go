package vmtests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// fileSystem is a kind of file system: how one is made with files in it, and how a file is read
// from one that was not unmounted.
type fileSystem struct {
	name, kind string
	modules    []string // of the guest's kernel
	shares     bool     // copies share their blocks: there is always room for one
	mounts     bool     // only the host's kernel can read it
	make       func(t *testing.T, tree *vm.Tree, file string, full bool)
	read       func(disk, name, into string) error // fs.ErrNotExist when it is not there
}

// errLost is the error of reading a file that is there and cannot be read.
var errLost = errors.New("lost")

// roomLeft is what a full file system has left: less than a second copy of an image, more than a
// longer segment.
const roomLeft = 100_000

// cutImages are the names of images on a disk.
var cutImages = []string{"initrd", "second"}

func vfat(bits string, sizeMiB int) fileSystem {
	return fileSystem{
		name: "vfat" + bits, kind: "vfat", modules: []string{
			"vfat", "nls_ascii", "nls_cp437",
			"nls_iso8859-1",
		},
		make: func(t *testing.T, tree *vm.Tree, file string, full bool) {
			run(t, exec.Command("mkfs.vfat", "-F", bits, "-C", file, fmt.Sprint(sizeMiB<<10)))
			dir := t.TempDir()
			if err := tree.Populate(dir); err != nil {
				t.Fatal(err)
			}
			put := func(name string) {
				run(t, exec.Command("mcopy", "-i", file, filepath.Join(dir, name),
					"::/"))
			}
			for _, name := range cutImages {
				if tree.Has(name) {
					put(name)
				}
			}
			if full {
				if err := os.WriteFile(filepath.Join(dir, "filler"),
					bytes.Repeat([]byte{1}, vfatFree(t, file)-roomLeft), 0o600); err != nil {
					t.Fatal(err)
				}
				put("filler")
			}
		},
		read: func(disk, name, into string) error {
			out, err := exec.Command("mcopy", "-n", "-i", disk, "::/"+name, into).CombinedOutput()
			switch {
			case err == nil:
				return nil
			case bytes.Contains(out, []byte("not found")):
				return fs.ErrNotExist
			}
			return fmt.Errorf("%w: %s", errLost, bytes.TrimSpace(out))
		},
	}
}

// vfatFree reads the line "  16 502 784 bytes free".
func vfatFree(t *testing.T, disk string) int {
	t.Helper()
	for line := range strings.Lines(string(run(t, exec.Command("mdir", "-i", disk, "::/")))) {
		if number, found := strings.CutSuffix(strings.TrimSpace(line), " bytes free"); found {
			free, err := strconv.Atoi(strings.ReplaceAll(number, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			return free
		}
	}
	t.Fatal("mdir does not say how much is free")
	return 0
}

func ext4() fileSystem {
	const sizeMiB = 16
	return fileSystem{
		name: "ext4", kind: "ext4", modules: []string{"ext4"},
		make: func(t *testing.T, tree *vm.Tree, file string, full bool) {
			dir := t.TempDir()
			if err := tree.Populate(dir); err != nil {
				t.Fatal(err)
			}
			mkfs := func() {
				run(t, exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-d", dir, file,
					fmt.Sprintf("%dM", sizeMiB)))
			}
			mkfs()
			if !full {
				return
			}
			free := 0
			for line := range strings.Lines(string(run(t, exec.Command("dumpe2fs", "-h", file)))) {
				if number, found := strings.CutPrefix(line, "Free blocks:"); found {
					blocks, err := strconv.Atoi(strings.TrimSpace(number))
					if err != nil {
						t.Fatal(err)
					}
					// blocks of a file system this small; the kernel keeps 2 % back
					free = blocks<<10 - sizeMiB<<20/50
				}
			}
			// Zeros would become a hole.
			if err := os.WriteFile(filepath.Join(dir, "filler"), bytes.Repeat([]byte{1}, free-roomLeft),
				0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			mkfs()
		},
		read: func(disk, name, into string) error {
			// What the next mount would do first: the journal is replayed. Not on the original, from which
			// further states are made.
			mended := into + ".disk"
			if err := copySparse(disk, mended); err != nil {
				return err
			}
			if _, err := vm.Output(exec.Command("e2fsck", "-y", "-E", "journal_only", mended)); err != nil {
				return fmt.Errorf("%w: %w", errLost, err)
			}
			err := dumpExt4(mended, name, into)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				return err
			}
			// A superblock that was cut in two; the check before the next mount takes a copy of it, and
			// replays the journal all the same.
			if err := copySparse(disk, mended); err != nil {
				return err
			}
			var exit *exec.ExitError // 1: something was mended
			if err := exec.Command("e2fsck", "-f", "-y", mended).Run(); err != nil &&
				(!errors.As(err, &exit) || exit.ExitCode() > 1) {
				return fmt.Errorf("%w: e2fsck: %w", errLost, err)
			}
			return dumpExt4(mended, name, into)
		},
	}
}

func dumpExt4(disk, name, into string) error {
	out, err := exec.Command("debugfs", "-R", "dump /"+name+" "+into, disk).CombinedOutput()
	if bytes.Contains(out, []byte("File not found")) {
		return fs.ErrNotExist
	}
	if _, statErr := os.Stat(into); err != nil || statErr != nil {
		return fmt.Errorf("%w: debugfs: %s", errLost, out)
	}
	return nil
}

// xfs has no tool that replays its log but the kernel.
func xfs() fileSystem {
	// The smallest log, which mkfs calls unsupported: it is copied for every state.
	return mounted("xfs", "nouuid", "mkfs.xfs", "-q", "--unsupported", "-l", "size=4m", "-m",
		"reflink=0")
}

func btrfs() fileSystem {
	f := mounted("btrfs", "", "mkfs.btrfs", "-q", "-d", "single", "-m", "single")
	f.shares = true
	return f
}

// mounted is a file system that is made and read by mounting it on the host.
func mounted(kind, options, mkfs string, args ...string) fileSystem {
	sizeMiB := map[string]int{"xfs": 32, "btrfs": 128}[kind] // most of it a hole
	return fileSystem{
		name: kind, kind: kind, modules: []string{kind}, mounts: true,
		make: func(t *testing.T, tree *vm.Tree, file string, full bool) {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, int64(sizeMiB)<<20); err != nil {
				t.Fatal(err)
			}
			run(t, exec.Command(mkfs, append(args, file)...))
			err := withMounted(kind, options, file, func(dir string) error {
				if err := tree.Populate(dir); err != nil {
					return err
				}
				if full {
					return fillUp(dir)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		read: func(disk, name, into string) error {
			replayed := into + ".disk"
			if err := copySparse(disk, replayed); err != nil {
				return err
			}
			err := withMounted(kind, options, replayed, func(dir string) error {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					return err
				}
				return os.WriteFile(into, data, 0o600)
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %w", errLost, err)
			}
			return err
		},
	}
}

func copySparse(from, to string) error {
	_, err := vm.Output(exec.Command("cp", "--sparse=always", from, to))
	return err
}

// errMount is the error of mounting, apart from what is done in the mounted file system.
var errMount = errors.New("mount")

// withMounted mounts an image of a file system for the time of a call.
func withMounted(kind, options, file string, do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "mounted-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if _, err := vm.Output(exec.Command("mount", "-t", kind, "-o", strings.Trim("loop,"+options, ","),
		file, dir)); err != nil {
		return fmt.Errorf("%w %s: %w", errMount, kind, err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, 0)) }()
	return do(dir)
}

// fillUp leaves a little less than roomLeft on the file system of a directory.
func fillUp(dir string) error {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			return err
		}
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			return err
		}
		over := int64(st.Bavail)*st.Bsize - roomLeft
		if over <= 0 {
			return nil
		}
		if _, err := f.Write(bytes.Repeat([]byte{1}, int(min(over, 1<<20)))); err != nil {
			return err
		}
	}
}

// unmountable says why the host cannot judge a file system; nil when it can.
func (f fileSystem) unmountable(t *testing.T) error {
	t.Helper()
	if !f.mounts {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w %s: only root can", errMount, f.kind)
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !bytes.Contains(known, []byte("\t"+f.kind+"\n")) {
		// Where it is a module, mounting loads it.
		if err := exec.Command("modprobe", f.kind).Run(); err != nil {
			return fmt.Errorf("%w %s: not in this machine's kernel", errMount, f.kind)
		}
	}
	return nil
}
