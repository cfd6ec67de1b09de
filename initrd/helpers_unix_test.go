package initrd

import (
	"io/fs"
	"syscall"
	"testing"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func umask(mask int) (old int) { return syscall.Umask(mask) }

// withoutAccessTime is what lstat says, but for the time of the last reading.
func withoutAccessTime(fi fs.FileInfo) syscall.Stat_t {
	st := *fi.Sys().(*syscall.Stat_t)
	st.Atim = syscall.Timespec{}
	return st
}

// newerVersion is an image with a segment of a version that does not exist yet.
func newerVersion(t testing.TB, base []byte, s *Segment) []byte {
	t.Helper()
	image := join(t, base, s)
	at := int64(len(base)) + Padding(int64(len(base)))
	copy(image[at+int64(beginHead+versionField):], "00000002")
	copy(image[len(image)-trailerBytes-lastBytes+25:], "00000002")
	return image
}
