package hostfile

import "golang.org/x/sys/unix"

// openPath opens a directory that may be gone through, though not read.
const openPath = unix.O_PATH
