package hostfile

import (
	"fmt"
	"io/fs"
)

// special are the mode bits that Go and Linux place differently.
func special() [3]struct {
	mode fs.FileMode
	bit  uint32
} {
	return [...]struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}
}

// Bits are the permissions of a mode as chmod(2) takes them.
func Bits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, s := range special() {
		if m&s.mode != 0 {
			bits |= s.bit
		}
	}
	return bits
}

// Mode is the reverse of [Bits]. Other bits are ignored.
func Mode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for _, s := range special() {
		if bits&s.bit != 0 {
			m |= s.mode
		}
	}
	return m
}

// Octal writes the permissions of a mode as chmod(1) takes them, four digits.
func Octal(m fs.FileMode) string { return fmt.Sprintf("%04o", Bits(m)) }

// Kind says in words what a file is.
func Kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}
