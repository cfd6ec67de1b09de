package bootloader

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// tempName is a name in the same directory: on FAT, a file that moves between directories can have
// both names after a power cut.
func tempName(target string) string { return target + rand.Text()[:tempRandom] + tempSuffix }

const (
	tempRandom = 8
	tempSuffix = ".tmp"
)

var tempEnd = pattern.New(`^[A-Z2-7]{8}\.tmp$`)

// removeTemps removes what interrupted runs left beside a file.
func removeTemps(target string) error {
	dir, name := filepath.Split(target)
	files, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		end, ok := strings.CutPrefix(f.Name(), name)
		if ok && tempEnd().MatchString(end) && f.Type().IsRegular() {
			faults = append(faults, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(faults...)
}

// copyOver makes a file what another is, as a whole.
func copyOver(from, to string) error {
	temp := tempName(to)
	err := copyFile(from, temp)
	if err == nil {
		err = replace(temp, to)
	}
	if err != nil {
		if rm := os.Remove(temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}

// replace puts a file in another's place. What is there after a power cut is one of the two: the
// appender has synced the new one, and the sync after the rename is for vfat (package atomicfile).
func replace(temp, target string) error {
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		err = os.Rename(temp, target)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read from
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// isArchive says whether a file is empty or begins as the kernel wants an initrd to begin
// (lib/decompress.c, init/initramfs.c).
func isArchive(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read from
	head := make([]byte, 6)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false
	}
	if n == 0 {
		return true
	}
	for _, magic := range []string{
		"070701", "070702", "\x1f\x8b", "BZh", "\x5d\x00", "\xfd7zXZ", "\x89LZO", "\x02\x21\x4c\x18",
		"\x28\xb5\x2f\xfd", "\x00\x00\x00\x00",
	} {
		if strings.HasPrefix(string(head[:n]), magic) {
			return true
		}
	}
	return false
}
