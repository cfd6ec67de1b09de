package hostfile

import "golang.org/x/sys/unix"

const openPath = unix.O_RDONLY
