package initrd

import (
	"fmt"
	"strings"
)

// Profile is what the programs of a stage 1 expect of the entries. The zero value expects
// nothing: entries may lie anywhere, and are compared with the base wherever there is one.
type Profile struct {
	// CopyDir is a directory whose files stage 1 copies to the same path below "/", such as
	// "/.secrets". Every segment has it. Entries below it cannot collide with those of the base.
	CopyDir string
	// CannotCopy are the bytes of a path below CopyDir that make stage 1 lose the file.
	CannotCopy string
	// NeedBase refuses entries outside of CopyDir where there is no base to compare them with.
	NeedBase bool
}

// outside reports whether something at this path could be in the base, too.
func (p Profile) outside(path string) bool {
	return p.CopyDir == "" || path != p.CopyDir && !strings.HasPrefix(path, p.CopyDir+"/")
}

// check says what is wrong with the path of an entry for this stage 1, "" for nothing.
func (p Profile) check(path string) string {
	if p.outside(path) {
		return ""
	}
	if i := strings.IndexAny(path, p.CannotCopy); i >= 0 {
		return fmt.Sprintf("%q in the path: stage 1 would not copy this file to its place", path[i])
	}
	return ""
}
