package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"

	"github.com/cavaliergopher/cpio"
	uroot "github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// line is how the readers' views of an entry are compared.
func line(name string, mode, uid, gid, links, mtime uint32, size int64, content []byte) string {
	return fmt.Sprintf("%s %o %d:%d links %d mtime %d size %d %q", name, mode, uid, gid, links, mtime, size, content)
}

func ownList(t testing.TB, segment []byte) []string {
	t.Helper()
	var out []string
	a := &archive{src: newWindow(bytes.NewReader(segment), 0, int64(len(segment)))}
	for {
		h, err := a.next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, h.size)
		if err := a.content(content); err != nil {
			t.Fatal(err)
		}
		out = append(out, line(h.name, h.mode, h.uid, h.gid, h.links, h.mtime, int64(h.size), content))
	}
}

func urootList(t testing.TB, segment []byte) []string {
	t.Helper()
	var out []string
	r := uroot.Newc.Reader(bytes.NewReader(segment))
	for {
		rec, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, rec.FileSize)
		if n, err := rec.ReadAt(content, 0); n < len(content) {
			t.Fatal(err)
		}
		out = append(out, line(rec.Name, uint32(rec.Mode), uint32(rec.UID), uint32(rec.GID), uint32(rec.NLink), uint32(rec.MTime), int64(rec.FileSize), content))
	}
}

func cavalierList(t testing.TB, segment []byte) []string {
	t.Helper()
	var out []string
	r := cpio.NewReader(bytes.NewReader(segment))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		size := h.Size
		if h.Linkname != "" {
			content, size = []byte(h.Linkname), int64(len(h.Linkname))
		}
		out = append(out, line(h.Name, uint32(h.Mode), uint32(h.Uid), uint32(h.Guid), uint32(h.Links), uint32(h.ModTime.Unix()), size, content))
	}
}

func checkUnpacked(t *testing.T, path string, e Entry) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Error(err)
		return
	}
	if st.Mode != linuxMode(e.Mode) || st.Uid != e.UID || st.Gid != e.GID || st.Mtim.Sec != 0 && e.Mode.IsRegular() {
		t.Errorf("%s: mode %o owner %d:%d mtime %d, want %v", path, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, e)
	}
	switch {
	case e.Mode.IsRegular():
		if got := readFile(t, path); !bytes.Equal(got, e.Data) {
			t.Errorf("%s: %q", path, got)
		}
	case e.Mode&fs.ModeSymlink != 0:
		if got, err := os.Readlink(path); err != nil || got != e.Target {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// reserve is memory that is never touched, to test limits with.
func reserve(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b
}
