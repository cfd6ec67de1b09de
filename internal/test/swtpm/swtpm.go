// Package swtpm gives tests TPMs of their own: real ones as far as software can tell. It is
// imported by tests only.
package swtpm

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TPM is a running swtpm. Its state is in Dir, so that it can be started again, by a virtual
// machine too.
type TPM struct {
	Dir    string
	port   atomic.Int64
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd is no more
}

// Need skips a test where swtpm is not installed, or fails it where CI is true.
func Need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("swtpm is not installed")
	}
	t.Skip("needs swtpm (scripts/setup installs it)")
}

// New starts a TPM that nobody has used yet. It ends with the test.
func New(t testing.TB) *TPM {
	t.Helper()
	Need(t)
	tpm := &TPM{Dir: t.TempDir()}
	tpm.Start(t)
	t.Cleanup(func() { tpm.Cut() })
	return tpm
}

// Device is the TPM's name as libtss2, systemd and package seal take it.
func (s *TPM) Device() string { return fmt.Sprintf("swtpm:host=127.0.0.1,port=%d", s.port.Load()) }

// Start starts the TPM again, with the state it had.
func (s *TPM) Start(t testing.TB) {
	t.Helper()
	// libtss2 looks for the control channel at the next port. A port that somebody else took meanwhile
	// ends swtpm at once: try another.
	for range 20 {
		port := 20000 + 2*rand.IntN(20000)
		s.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+s.Dir,
			"--server", "type=tcp,bindaddr=127.0.0.1,port="+strconv.Itoa(port),
			"--ctrl", "type=tcp,bindaddr=127.0.0.1,port="+strconv.Itoa(port+1),
			"--flags", "not-need-init,startup-clear")
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.exited = make(chan struct{})
		go func(cmd *exec.Cmd, exited chan struct{}) { _ = cmd.Wait(); close(exited) }(s.cmd, s.exited)
		for {
			conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
			if err == nil {
				_ = conn.Close()
				s.port.Store(int64(port))
				return
			}
			select {
			case <-s.exited:
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
	}
	t.Fatal("swtpm does not start")
}

// Stop shuts the TPM down as a machine does that is turned off.
func (s *TPM) Stop(t testing.TB) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.FormatInt(s.port.Load(), 10))
	if err != nil {
		t.Fatal(err)
	}
	// TPM2_Shutdown(TPM_SU_CLEAR)
	if _, err := conn.Write([]byte{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 0}); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 10))
	_ = conn.Close()
	s.Cut()
}

// Replace puts another TPM in this one's place, which nobody has used yet.
func (s *TPM) Replace(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.Dir = t.TempDir()
	s.Start(t)
}

// Cut ends the TPM as a power cut does: without telling it, which counts as a failed authorisation.
func (s *TPM) Cut() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Lock has so many power cuts that the TPM is in lockout behind them. Those count that follow a use
// of something that the TPM protects.
func (s *TPM) Lock(t testing.TB, use func()) {
	t.Helper()
	for range 4 {
		use()
		s.Cut()
		s.Start(t)
	}
}
