package initrdsecrets

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// warnIfReadable warns when others than the owner can read the image: the secrets in it are then theirs too. Of a directory to which
// the loader copies the image, only a file system without modes tells what they will be.
func (o Options) warnIfReadable(image string) {
	name := image
	if o.Installed != "" {
		name = o.Installed
	}
	loose, err := ReadableByOthers(name)
	if err != nil || !loose {
		return // the image has just been written: a failure here has been one before
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return
	}
	defer func() { _ = mounts.Close() }() // only read from
	m := mountOf(bufio.NewScanner(mounts), real)
	if o.Installed != "" && !m.modeless() {
		return
	}
	text, hint := readableAdvice(o.KnownAs(name), m)
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

// modeless says that files have no modes of their own there, but those of the mount's options.
func (m mount) modeless() bool {
	switch m.kind {
	case "vfat", "msdos", "exfat", "ntfs", "ntfs3":
		return true
	}
	return false
}

// readableAdvice says what is open to others, and what closes it: on a file system without modes only a mount option does.
func readableAdvice(image string, m mount) (text, hint string) {
	if m.modeless() {
		return fmt.Sprintf("%s: every user of this host can read its secrets, because the %s file system at %s is open to all", image, m.kind, m.point),
			fmt.Sprintf("mount %s with umask=0077 (fileSystems.%q.options = [ \"umask=0077\" ])", m.point, m.point)
	}
	return fmt.Sprintf("%s: other users of this host can read its secrets", image), "chmod go= " + image
}
