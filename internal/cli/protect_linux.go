package cli

import "golang.org/x/sys/unix"

// Protect keeps what this process decrypts out of core dumps and swap space, and other processes
// of the same user from reading its memory. What the machine does not allow is left as it is: the
// work is done anyway.
func Protect() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// For the programs that it starts, too: gpg and plugins of age handle the same keys.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	// Locked memory is limited for whoever may not lift the limit. With it the Go runtime would
	// have no memory at some later moment, and end the program.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) == nil {
		_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
}
