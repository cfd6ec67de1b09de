package hostfile

import "golang.org/x/sys/unix"

// OpenPath opens a directory that may be gone through, though not read (open(2), O_PATH).
const OpenPath = unix.O_PATH
