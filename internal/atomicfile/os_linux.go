package atomicfile

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

func blockSize(st *unix.Statfs_t) int64 {
	if st.Frsize == 0 {
		return int64(st.Bsize)
	}
	return int64(st.Frsize)
}

func allocate(fd int, from, n int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, from, n)
}

// Push uses sync_file_range(2), which neither writes the inode nor flushes the disk's cache.
func (f *osFile) Push() error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE |
		unix.SYNC_FILE_RANGE_WAIT_AFTER
	err := retry(func() error { return unix.SyncFileRange(int(f.Fd()), 0, 0, all) })
	switch {
	case err == nil, errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESPIPE), errors.Is(err,
		unix.EINVAL):
		return nil
	}
	return &fs.PathError{Op: "push", Path: f.Name(), Err: err}
}
