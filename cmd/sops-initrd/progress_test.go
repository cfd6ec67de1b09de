package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// newTerminal is a pseudo-terminal, and what was written to it so far.
func newTerminal(t *testing.T) (terminal *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testkeys.Missing(t, "pseudo-terminals: "+err.Error())
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testkeys.Missing(t, "pseudo-terminals: "+err.Error())
	}
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&all, master) // until the terminal is closed
	}()
	return terminal, func() string {
		_ = terminal.Close()
		<-done
		return all.String()
	}
}

// What a run waits for is shown on a terminal, and to systemd, while it does.
func TestProgress(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	s := h.encrypt("s.json", map[string]string{"luks": "value"})
	manifest := h.manifest("m.json", s, []string{"luks"})
	image := h.write("boot/image", string(emptyArchive(t)))
	dir, err := atomicfile.OS().OpenDir(filepath.Dir(image))
	if err != nil {
		t.Fatal(err)
	}
	of, err := dir.Stat()
	if err != nil {
		t.Fatal(err)
	}
	_ = dir.Close()
	address := h.path("notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()

	held, err := atomicfile.LockDir(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	terminal, written := newTerminal(t)
	ended := make(chan int, 1)
	go func() {
		ended <- run(cli.Env{
			Args:  []string{"append", "--manifest", manifest, "--state", h.path("state"), image},
			Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: terminal,
			Getenv: func(name string) string { return map[string]string{"NOTIFY_SOCKET": address}[name] },
		})
	}()
	want := fmt.Sprintf("waiting for another run to end (process %d), 1 s", os.Getpid())
	message := make([]byte, 1000)
	if err := systemd.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := systemd.Read(message)
	if got := string(message[:n]); err != nil || got != "STATUS="+want {
		t.Errorf("systemd is told %q, %v", got, err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if status := <-ended; status != cli.Done {
		t.Errorf("exit status %d", status)
	}
	text := written()
	if !strings.Contains(text, "\r\x1b[K"+want+"\r") || !strings.HasSuffix(text, "\r\x1b[K\r") {
		t.Errorf("the terminal has %q", text)
	}
}
