package generation

import (
	"path"
	"strings"
	"unicode"
)

// MountPoint is what Reserved calls the mount point.
const MountPoint = "the secrets file system"

// Place is a path outside the generations that this package uses, and what is there.
type Place struct{ Path, What string }

// Reserved lists all such paths.
func Reserved(mountPoint, link string) []Place {
	return []Place{
		{link, "the link to the live secrets"},
		{mountPoint, MountPoint},
		{lockName(mountPoint), "the lock of the secrets file system"},
		{path.Join(path.Dir(link), tempName(path.Base(link))), "the next link to the live secrets"},
	}
}

// IsReserved says whether name, below mountPoint, is or is below a name that a generation may get.
func IsReserved(mountPoint, name string) bool {
	rest := strings.TrimPrefix(name, mountPoint+"/")
	return rest != name && rest != "" && (rest[0] == '.' || unicode.IsDigit(rune(rest[0])))
}

func lockName(mountPoint string) string { return mountPoint + ".lock" }
