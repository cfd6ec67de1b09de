package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestJournal: messages that go to the journal have a priority on every line, others have none.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stderr")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	stream := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for _, c := range []struct{ stream, want string }{
		{stream, "<3>p: error: a\n<3>  b\n<5>p: hint: h\n<4>p: warning: w\n<6>p: n\n"},
		{"", "p: error: a\n  b\np: hint: h\np: warning: w\np: n\n"},
		{"1:1", "p: error: a\n  b\np: hint: h\np: warning: w\np: n\n"},
	} {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		e := Env{Stderr: f, Getenv: func(name string) string {
			return map[string]string{"JOURNAL_STREAM": c.stream}[name]
		}}
		Report(e, "p", WithHint(fmt.Errorf("a\nb"), "h"))
		Warn(e, "p", "w")
		Note(e, "p", "n")
		if got, err := os.ReadFile(path); err != nil || string(got) != c.want {
			t.Errorf("JOURNAL_STREAM=%s: %q", c.stream, got)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for address, want := range map[string]string{path: "STATUS=a b", "": "", "/no/such/socket": ""} {
		Status(Env{Getenv: func(string) string { return address }}, "a\nb")
		if want == "" {
			continue
		}
		buffer := make([]byte, 100)
		if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buffer)
		if err != nil || string(buffer[:n]) != want {
			t.Errorf("%q, %v", buffer[:n], err)
		}
	}
}
