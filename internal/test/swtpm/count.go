package swtpm

import (
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// Counted is the device name of a TPM that counts the commands it gets, and the count so far.
func (s *TPM) Counted(t testing.TB) (device string, count func() int) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "counted")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var n atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			s.forward(client, &n)
		}
	}()
	return "swtpm:path=" + socket, func() int { return int(n.Load()) }
}

// forward passes commands and answers on, one by one, until the client goes.
func (s *TPM) forward(client net.Conn, n *atomic.Int64) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", "127.0.0.1:"+strconv.FormatInt(s.port.Load(), 10))
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { _, _ = io.Copy(client, server) }()
	command := make([]byte, 4096)
	for {
		size, err := client.Read(command) // a client sends a command in one piece
		if err != nil {
			return
		}
		n.Add(1)
		if _, err := server.Write(command[:size]); err != nil {
			return
		}
	}
}
