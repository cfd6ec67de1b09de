package hostfile

import "golang.org/x/sys/unix"

// OpenPath opens a directory; it has to be readable here.
const OpenPath = unix.O_RDONLY
