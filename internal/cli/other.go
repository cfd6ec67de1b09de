//go:build !linux

package cli

// Protect does nothing: only Linux hosts have secrets installed.
func Protect() {}

// Status does nothing: there is no systemd.
func Status(Env, string) {}
