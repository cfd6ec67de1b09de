package atomicfile

import (
	"io"
	"io/fs"
	"time"
)

// Layer opens files and directories. OS returns the real one.
type Layer interface {
	// OpenDir opens a directory; its symbolic links are followed.
	OpenDir(path string) (Dir, error)
	// Open opens a file for reading; symbolic links are followed.
	Open(path string) (File, error)
}

// Dir is an open directory. Names are single path elements; none of the methods follows a
// symbolic link.
type Dir interface {
	// Open opens an existing file for reading, without blocking on a FIFO.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing, without truncating it or blocking
	// on a FIFO.
	OpenWrite(name string) (File, error)
	// Create makes a new file with mode 0600, opened for reading and writing; the error is
	// fs.ErrExist when the name is taken.
	Create(name string) (File, error)
	// Symlink makes a symbolic link; the error is fs.ErrExist when the name is taken.
	Symlink(target, name string) error
	// Lstat describes a name of the directory; the error is fs.ErrNotExist when there is none.
	Lstat(name string) (Info, error)
	// Stat describes the directory itself.
	Stat() (Info, error)
	// Names lists the directory in no particular order.
	Names() ([]string, error)
	// Rename moves a name, replacing the file that has the new one.
	Rename(from, to string) error
	// Remove deletes a name that is not a directory.
	Remove(name string) error
	// Sync makes the directory's names durable.
	Sync() error
	// Space describes the file system.
	Space() (Space, error)
	Close() error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.Writer
	io.WriterAt
	// CopyFrom appends n bytes of src, from offset off, at the write position, by reflink or
	// inside the kernel where the file systems can. It returns the number of bytes copied, and
	// io.ErrUnexpectedEOF when src ended early.
	CopyFrom(src File, off, n int64) (int64, error)
	// Allocate makes sure that there is room for the file to grow to size. The size itself and
	// the content stay as they are. Where the file system cannot promise that it does nothing.
	Allocate(size int64) error
	Truncate(size int64) error
	// Push hands the content to the disk and not the size of the file, as far as the file system
	// keeps them apart. What it handed over is durable when another file, or a directory, of the
	// file system was synced after it.
	Push() error
	Sync() error
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error
	Stat() (Info, error)
	// TryLock takes the advisory lock of the file, or returns ErrLocked. The lock ends with
	// Close, or with the process.
	TryLock() error
	Close() error
}

// Info describes a file.
type Info struct {
	Mode     fs.FileMode
	Size     int64
	UID, GID uint32
	Links    uint64
	Dev, Ino uint64
	ModTime  time.Time
}

// SameFile reports whether both are names of one file.
func (i Info) SameFile(o Info) bool { return i.Dev == o.Dev && i.Ino == o.Ino }

// Space describes a file system.
type Space struct {
	Free  int64 // bytes that are not used; a file system can keep some of them for itself
	Block int64 // bytes are used in multiples of this
	Type  int64 // the kernel's magic number of the file system, as in statfs(2)
}

// Round returns the space that n bytes of file content take.
func (s Space) Round(n int64) int64 {
	if s.Block <= 1 {
		return n
	}
	return (n + s.Block - 1) / s.Block * s.Block
}
