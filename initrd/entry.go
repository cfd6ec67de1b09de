package initrd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// Limits of a segment. The kernel drops an entry beyond most of them without a word; the others
// bound what has to be read to check a segment.
const (
	maxDataBytes   = math.MaxUint32 // newc has eight hexadecimal digits for a size
	maxPathBytes   = 4095           // PATH_MAX without the NUL (init/initramfs.c skips longer names)
	maxElementByte = 255            // NAME_MAX
	maxTargetBytes = 4095           // init/initramfs.c skips longer link targets
	maxEntries     = 100_000
	noID           = math.MaxUint32 // (uid_t)-1 means "no user" to the kernel
)

// trailerName ends an archive; an entry cannot have it.
const trailerName = "TRAILER!!!"

// reservedPrefix begins the names of the entries that make a segment recognisable.
const reservedPrefix = "/.sops-initrd-"

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Entry is one file, directory or symbolic link of a segment.
type Entry struct {
	// Path is absolute and clean, such as "/etc/luks.key". Control characters are refused, and
	// what [Profile.CannotCopy] says.
	Path string
	// Mode is a type, one of 0 (regular file), fs.ModeDir and fs.ModeSymlink, with permission,
	// setuid, setgid and sticky bits. The bits of a symbolic link mean nothing and are always
	// written as 0777.
	Mode     fs.FileMode
	UID, GID uint32
	Data     []byte // of a regular file, less than 4 GiB
	Target   string // of a symbolic link
	// Random says that Data differs each time it is made, as what is encrypted does: an image
	// that has other data there, made from the same inputs, counts as unchanged.
	Random bool
}

// Format prints the entry without its content, whatever the verb, so that no message can show a
// secret.
func (e Entry) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v %d:%d %q (%d bytes)", e.Mode, e.UID, e.GID, e.Path, len(e.Data))
}

// MarshalJSON describes the entry without its content.
func (e Entry) MarshalJSON() ([]byte, error) { return e.info().MarshalJSON() }

func (e Entry) info() EntryInfo {
	return EntryInfo{Path: e.Path, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.size()}
}

// size is the length of the entry's content in the archive.
func (e Entry) size() int64 {
	if e.Mode.Type() == fs.ModeSymlink {
		return int64(len(e.Target))
	}
	return int64(len(e.Data))
}

// check returns everything that is wrong with one entry.
func (e Entry) check(p Profile) error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("entry %q: "+format, append([]any{e.Path}, args...)...))
	}
	if why := cmp.Or(checkPath(e.Path), p.check(e.Path)); why != "" {
		bad("%s", why)
	}
	if e.UID == noID {
		bad("uid %d means no user", e.UID)
	}
	if e.GID == noID {
		bad("gid %d means no group", e.GID)
	}
	if extra := e.Mode &^ (modeBits | fs.ModeDir | fs.ModeSymlink); extra != 0 {
		bad("mode %v: only regular files, directories and symbolic links can be installed", e.Mode)
		return errors.Join(faults...)
	}
	typ := e.Mode.Type()
	if typ == fs.ModeDir|fs.ModeSymlink {
		bad("mode %v: both directory and symbolic link", e.Mode)
	}
	if typ != 0 && len(e.Data) > 0 {
		bad("data in what is not a regular file")
	}
	if int64(len(e.Data)) > maxDataBytes {
		bad("%d bytes, but the archive format ends at %d", len(e.Data), int64(maxDataBytes))
	}
	switch {
	case typ != fs.ModeSymlink && e.Target != "":
		bad("target of what is not a symbolic link")
	case typ == fs.ModeSymlink && e.Target == "":
		bad("symbolic link without a target")
	case len(e.Target) > maxTargetBytes:
		bad("target of %d bytes, but the kernel takes %d", len(e.Target), maxTargetBytes)
	case strings.ContainsRune(e.Target, 0):
		bad("NUL in the target")
	}
	return errors.Join(faults...)
}

// checkPath says what is wrong with the path of an entry, "" for nothing.
func checkPath(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "path is not absolute"
	case p == "/":
		return "the root itself cannot be an entry: the kernel would give it this mode and owner"
	case path.Clean(p) != p:
		return fmt.Sprintf("path is not clean: write %q", path.Clean(p))
	case len(p)-1 > maxPathBytes:
		return fmt.Sprintf("path of %d bytes, but the kernel takes %d", len(p)-1, maxPathBytes)
	case p == "/"+trailerName:
		return "this name ends an archive"
	case strings.HasPrefix(p, reservedPrefix):
		return fmt.Sprintf("names beginning with %q are taken", reservedPrefix)
	}
	if i := slices.IndexFunc(strings.Split(p, "/"),
		func(s string) bool { return len(s) > maxElementByte }); i >= 0 {
		return fmt.Sprintf("path element longer than %d bytes", maxElementByte)
	}
	for i := range len(p) {
		if c := p[i]; c < ' ' || c == 0x7f {
			return fmt.Sprintf("control character 0x%02x in the path", c)
		}
	}
	return ""
}

// withParents adds the directories above the entries that are not entries themselves (0755,
// root), and copyDir unless it is "". The kernel makes no parents: a file without one is dropped.
func withParents(entries []Entry, copyDir string) (all []Entry, implied map[string]bool) {
	known := make(map[string]bool, len(entries))
	for _, e := range entries {
		known[e.Path] = true
	}
	all = slices.Clone(entries)
	implied = make(map[string]bool)
	add := func(dir string) {
		if !known[dir] {
			known[dir], implied[dir] = true, true
			all = append(all, Entry{Path: dir, Mode: fs.ModeDir | 0o755})
		}
	}
	addUp := func(dir string) {
		for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
			add(dir)
		}
	}
	for _, e := range entries {
		addUp(path.Dir(e.Path))
	}
	if copyDir != "" {
		addUp(copyDir)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return all, implied
}

// checkTree finds entries with one path, and entries below what is no directory. The entries are
// sorted.
func checkTree(sorted []Entry, copyDir string) error {
	var faults []error
	types := make(map[string]fs.FileMode, len(sorted))
	for i, e := range sorted {
		if i > 0 && sorted[i-1].Path == e.Path {
			faults = append(faults, fmt.Errorf("entry %q: given more than once", e.Path))
		}
		types[e.Path] = e.Mode.Type()
	}
	for _, e := range sorted {
		parent := path.Dir(e.Path)
		if typ, ok := types[parent]; ok && typ != fs.ModeDir {
			faults = append(faults, fmt.Errorf("entry %q: its parent %q is an entry and not a directory",
				e.Path, parent))
		}
	}
	if copyDir != "" && types[copyDir] != fs.ModeDir {
		faults = append(faults, fmt.Errorf("entry %q: must be a directory", copyDir))
	}
	return errors.Join(faults...)
}
