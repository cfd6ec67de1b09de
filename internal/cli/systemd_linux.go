package cli

import (
	"strings"
	"syscall"
)

// Status tells systemd what a service waits for; "systemctl status" shows it (sd_notify(3),
// NotifyAccess=). Elsewhere it does nothing.
func Status(e Env, text string) {
	address := e.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	message := []byte("STATUS=" + strings.ReplaceAll(text, "\n", " "))
	_ = syscall.Sendto(fd, message, syscall.MSG_DONTWAIT, &syscall.SockaddrUnix{Name: address}) // nobody may listen
}
