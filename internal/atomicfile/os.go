package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// ErrLocked is the error of File.TryLock when somebody else holds the lock.
var ErrLocked = errors.New("another run holds the lock")

// OS returns the layer of the operating system.
func OS() Layer { return osLayer{} }

type osLayer struct{}

func (osLayer) OpenDir(path string) (Dir, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osDir{f: os.NewFile(uintptr(fd), path), path: path}, nil
}

func (osLayer) Open(path string) (File, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osFile{os.NewFile(uintptr(fd), path)}, nil
}

// osDir works relative to an open directory, so that a directory moved or replaced meanwhile is
// not mixed up with another.
type osDir struct {
	f    *os.File
	path string
}

func (d *osDir) fd() int                     { return int(d.f.Fd()) }
func (d *osDir) join(n string) string        { return filepath.Join(d.path, n) }
func (d *osDir) Sync() error                 { return d.f.Sync() }
func (d *osDir) Close() error                { return d.f.Close() }
func (d *osDir) Stat() (Info, error)         { return statFile(d.f) }
func (d *osDir) Open(n string) (File, error) { return d.open(n, unix.O_RDONLY|unix.O_NONBLOCK) }

func (d *osDir) OpenWrite(n string) (File, error) {
	return d.open(n, unix.O_RDWR|unix.O_NONBLOCK)
}

func (d *osDir) Create(n string) (File, error) {
	return d.open(n, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

func (d *osDir) open(name string, flags int) (File, error) {
	fd, err := openat(d.fd(), name, flags|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.join(name), Err: err}
	}
	return &osFile{os.NewFile(uintptr(fd), d.join(name))}, nil
}

func (d *osDir) Symlink(target, name string) error {
	if err := retry(func() error { return unix.Symlinkat(target, d.fd(), name) }); err != nil {
		return &os.LinkError{Op: "symlink", Old: target, New: d.join(name), Err: err}
	}
	return nil
}

func (d *osDir) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: d.join(name), Err: err}
	}
	return info(&st), nil
}

func (d *osDir) Names() ([]string, error) {
	// A descriptor of its own: the position in the directory belongs to the open file and would
	// be shared.
	fd, err := openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.path)
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (d *osDir) Rename(from, to string) error {
	if err := retry(func() error { return unix.Renameat(d.fd(), from, d.fd(), to) }); err != nil {
		return &os.LinkError{Op: "rename", Old: d.join(from), New: d.join(to), Err: err}
	}
	return nil
}

func (d *osDir) Remove(name string) error {
	if err := retry(func() error { return unix.Unlinkat(d.fd(), name, 0) }); err != nil {
		return &fs.PathError{Op: "remove", Path: d.join(name), Err: err}
	}
	return nil
}

func (d *osDir) Space() (Space, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(d.fd(), &st) }); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: d.path, Err: err}
	}
	free := st.Bavail
	if os.Geteuid() == 0 {
		free = st.Bfree // ext4 keeps blocks back for root
	}
	block := blockSize(&st)
	return Space{Free: int64(free) * block, Block: block, Type: int64(st.Type)}, nil
}

type osFile struct{ *os.File }

func (f *osFile) Stat() (Info, error) { return statFile(f.File) }
func (f *osFile) TryLock() error      { return tryLock(f.File) }

func (f *osFile) CopyFrom(src File, off, n int64) (int64, error) {
	var r io.Reader = io.NewSectionReader(src, off, n)
	if s, ok := src.(*osFile); ok {
		if _, err := s.Seek(off, io.SeekStart); err != nil {
			return 0, err
		}
		// the form that os.File.ReadFrom gives to copy_file_range(2)
		r = &io.LimitedReader{R: s.File, N: n}
	}
	done, err := f.ReadFrom(r)
	if err == nil && done < n {
		err = fmt.Errorf("copy to %s: %w", f.Name(), io.ErrUnexpectedEOF)
	}
	return done, err
}

func (f *osFile) Allocate(size int64) error {
	i, err := f.Stat()
	if err != nil || size <= i.Size {
		return err
	}
	err = retry(func() error {
		return allocate(int(f.Fd()), i.Size, size-i.Size)
	})
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return nil
	}
	// Some of it may have been allocated.
	return errors.Join(&fs.PathError{Op: "allocate", Path: f.Name(), Err: err}, f.Truncate(i.Size))
}

func statFile(f *os.File) (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info(&st), nil
}

func info(st *unix.Stat_t) Info {
	i := Info{
		Mode: hostfile.Mode(uint32(st.Mode)), Size: st.Size, UID: st.Uid, GID: st.Gid,
		Links: uint64(st.Nlink), Dev: uint64(st.Dev), Ino: st.Ino, ModTime: time.Unix(st.Mtim.Unix()),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		i.Mode |= fs.ModeDir
	case unix.S_IFLNK:
		i.Mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		i.Mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		i.Mode |= fs.ModeSocket
	case unix.S_IFCHR:
		i.Mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		i.Mode |= fs.ModeDevice
	default:
		i.Mode |= fs.ModeIrregular
	}
	return i
}

func openat(dirfd int, name string, flags int, perm uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dirfd, name, flags|unix.O_CLOEXEC, perm)
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal interrupted; the Go runtime's own signals do that on
// some file systems.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
