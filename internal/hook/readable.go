package hook

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// warnIfReadable warns when others than the owner can read the image: the secrets in it are then theirs too.
func (o Options) warnIfReadable(image string) {
	loose, err := ReadableByOthers(image)
	if err != nil || !loose {
		return // the image has just been written: a failure here has been one before
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		mounts, _ = os.Open(os.DevNull)
	}
	defer func() { _ = mounts.Close() }() // only read from
	real, err := filepath.EvalSymlinks(image)
	if err != nil {
		real = image
	}
	text, hint := readableAdvice(image, mountOf(bufio.NewScanner(mounts), real))
	o.Warn(text, hint)
}

// ReadableByOthers says whether a file's mode, and that of all directories above it, let others than its owner and root read it.
func ReadableByOthers(name string) (bool, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return false, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return false, err
	}
	loose := info.Mode().Perm() & 0o044 // who of group and others can read it
	for dir := filepath.Dir(abs); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false, err
		}
		loose &= info.Mode().Perm() << 2 & 0o044 // and can pass the directory
		if dir == "/" {
			return loose != 0, nil
		}
	}
}

// mount is where a file system is and what it is.
type mount struct{ point, kind string }

// mountOf finds the mount of a file in the lines of /proc/self/mountinfo (proc(5)); the last one that fits is on top.
func mountOf(lines *bufio.Scanner, name string) (m mount) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		sep := 6 // optional fields end with a dash
		for sep < len(fields) && fields[sep] != "-" {
			sep++
		}
		if sep+1 >= len(fields) {
			continue
		}
		point := unescape.Replace(fields[4])
		if (point == "/" || name == point || strings.HasPrefix(name, point+"/")) && len(point) >= len(m.point) {
			m = mount{point, fields[sep+1]}
		}
	}
	return m
}

// readableAdvice says what is open to others, and what closes it: on a file system without modes only a mount option does.
func readableAdvice(image string, m mount) (text, hint string) {
	switch m.kind {
	case "vfat", "msdos", "exfat", "ntfs", "ntfs3":
		return fmt.Sprintf("%s: every user of this host can read its secrets, because the %s file system at %s is open to all", image, m.kind, m.point),
			fmt.Sprintf("mount %s with umask=0077 (fileSystems.%q.options = [ \"umask=0077\" ])", m.point, m.point)
	}
	return fmt.Sprintf("%s: other users of this host can read its secrets", image), "chmod go= " + image
}
