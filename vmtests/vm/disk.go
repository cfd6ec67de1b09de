package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// luksMiB is the room in front of the file system that LUKS2 gets when a disk is encrypted in
// place.
const luksMiB = 4

// luksOptions keep emulated guests from deriving keys for minutes (the keys of tests are random),
// and an ordinary user from needing locks below /run (nobody else has these files).
func luksOptions(more ...string) []string {
	return append([]string{"--disable-locks", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"},
		more...)
}

// MakeExt4 makes a file system that holds the tree, in a file; no mount is needed. All belongs to
// root. Its features are those that extlinux can read.
func MakeExt4(ctx context.Context, tree *Tree, file string, sizeMiB int) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), "tree")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := tree.Populate(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	_, err = Output(exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-O",
		"^has_journal,^64bit,^metadata_csum,^flex_bg,^extent", "-d", dir, file,
		fmt.Sprintf("%dM", sizeMiB)))
	if err != nil || os.Geteuid() == 0 {
		return err
	}
	// mkfs took the owners of the copies, and an ordinary user's copies are that user's.
	var script strings.Builder
	for _, rec := range append(tree.records(), cpio.Directory("", 0)) {
		fmt.Fprintf(&script, "sif \"/%s\" uid 0\nsif \"/%s\" gid 0\n", rec.Name, rec.Name)
	}
	cmd := exec.CommandContext(ctx, "debugfs", "-w", "-f", "-", file)
	cmd.Stdin = strings.NewReader(script.String())
	_, err = Output(cmd)
	return err
}

// MakeFAT makes a FAT file system that fills the whole of file, with the tree in it; no mount is
// needed.
func MakeFAT(ctx context.Context, tree *Tree, file string, sizeMiB int) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), "tree")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := tree.Populate(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	if _, err := Output(exec.CommandContext(ctx, "mkfs.vfat", "-C", "-n", "ESP", file,
		fmt.Sprint(sizeMiB<<10))); err != nil {
		return err
	}
	top, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	_, err = Output(exec.CommandContext(ctx, "mcopy",
		append(append([]string{"-s", "-m", "-i", file}, top...), "::/")...))
	return err
}

// EncryptDisk turns the file system in file into a LUKS2 disk that opens with key; the device
// mapper is not needed. The file grows by a few MiB. The key goes through a pipe.
func EncryptDisk(ctx context.Context, file string, key []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if err := os.Truncate(file, info.Size()+luksMiB<<20); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cryptsetup", luksOptions("reencrypt", "--encrypt", "-q", "--type",
		"luks2",
		"--reduce-device-size", fmt.Sprintf("%dM", luksMiB), "--key-file", "-", filepath.Base(file))...)
	cmd.Dir = filepath.Dir(file) // where it keeps the header while it works
	cmd.Stdin = bytes.NewReader(key)
	if _, err := Output(cmd); err != nil {
		return err
	}
	return CheckKey(ctx, file, key)
}

// AddKey gives the LUKS disk one more slot, for key. old opens it already.
func AddKey(ctx context.Context, file string, old, key []byte) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// A pipe holds 64 KiB, so this write does not wait for a reader.
	_, err = w.Write(key)
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cryptsetup", luksOptions("luksAddKey", "-q", "--key-file", "-",
		file, "/dev/fd/3")...)
	cmd.Stdin = bytes.NewReader(old)
	cmd.ExtraFiles = []*os.File{r}
	if _, err := Output(cmd); err != nil {
		return err
	}
	return CheckKey(ctx, file, key)
}

// CheckKey returns an error unless key opens a slot of the LUKS disk.
func CheckKey(ctx context.Context, file string, key []byte) error {
	cmd := exec.CommandContext(ctx, "cryptsetup", "open", "--disable-locks", "--test-passphrase",
		"--key-file", "-", file)
	cmd.Stdin = bytes.NewReader(key)
	_, err := Output(cmd)
	return err
}

// Output runs a command and returns its standard output; what it said on standard error is part of
// the error.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err,
			bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// Virtio returns the arguments that give a machine the raw disk image file as its next virtio disk,
// /dev/vda first.
func Virtio(file string) []string {
	return []string{"-drive", "file=" + strings.ReplaceAll(file, ",", ",,") +
		",format=raw,if=virtio,cache=unsafe"}
}
