package atomicfile

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The holder of a lock is said where the table of locks has it, and never another process.
func TestHolderIn(t *testing.T) {
	t.Parallel()
	const table = `1: -> FLOCK  ADVISORY  WRITE 4710 fd:00:777 0 EOF
2: FLOCK  ADVISORY  WRITE 4711 fd:00:777 0 EOF
3: POSIX  ADVISORY  WRITE 4712 00:19:778 0 EOF
4: FLOCK  ADVISORY  WRITE 4713 00:19:777 0 EOF
5: FLOCK  ADVISORY  WRITE 4714
`
	for _, c := range []struct {
		major, minor uint32
		inode        uint64
		want         string
	}{
		{0xfd, 0, 777, " (process 4711)"},
		{0, 0x19, 777, " (process 4713)"},
		{0, 0x19, 778, ""},
		{0, 0x19, 77, ""},
		{8, 1, 777, ""},
	} {
		info := Info{Dev: unix.Mkdev(c.major, c.minor), Ino: c.inode}
		if got := holderIn(table, info); got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}
