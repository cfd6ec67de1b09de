package inputfile

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(file("file"), []byte("12345"), 0o600), os.Symlink("file",
			file("link")), os.Symlink("gone", file("dangling")),
		unix.Mkfifo(file("pipe"), 0o600), os.WriteFile(file("sparse"), nil,
			0o600), os.Truncate(file("sparse"), 1<<40),
		os.Symlink("pipe", file("pipe link")), os.Symlink("loop", file("loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", file("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		path  string
		limit int64
		want  string
	}{
		{file("file"), 5, ""},
		{file("link"), 5, ""},
		{file("file"), 4, "larger than 4 bytes"},
		{file("sparse"), 1 << 20, "larger than 1 MiB"},
		{"/proc/self/status", 5, "larger than 5 bytes"},
		{file("pipe"), 5, "is a named pipe, not a file"},
		{file("pipe link"), 5, "is a named pipe, not a file"},
		{file("socket"), 5, "is a socket, not a file"},
		{"/dev/zero", 5, "is a device, not a file"},
		{dir, 5, "is a directory, not a file"},
		{file("dangling"), 5, "no such file or directory"},
		{file("loop"), 5, "too many levels of symbolic links"},
		{file("file/x"), 5, "not a directory"},
	} {
		data, err := Read(c.path, c.limit)
		if got := ""; err != nil {
			if got = err.Error(); got != c.want {
				t.Errorf("%s: %q, want %q", c.path, got, c.want)
			}
		} else if c.want != "" || string(data) != "12345" {
			t.Errorf("%s: read %q, want fault %q", c.path, data, c.want)
		}
	}
}
