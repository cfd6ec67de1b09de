package faults

import (
	"io/fs"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

type dir struct {
	l     *Layer
	inner atomicfile.Dir
	path  string
}

// whole makes a step of do of a call that cannot be done by half.
func whole(f func() error) func(int64) error {
	return func(part int64) error {
		if part != 1 {
			return nil
		}
		return f()
	}
}

func (d *dir) Open(n string) (atomicfile.File, error) {
	return d.l.openFile("open ", n,
		d.inner.Open)
}

func (d *dir) OpenWrite(n string) (atomicfile.File, error) {
	return d.l.openFile("openwrite ", n, d.inner.OpenWrite)
}

func (d *dir) Create(n string) (atomicfile.File, error) {
	return d.l.openFile("create ", n, d.inner.Create)
}

func (d *dir) Symlink(target, name string) error {
	return d.l.do("symlink "+name, whole(func() error { return d.inner.Symlink(target, name) }))
}

func (d *dir) Lstat(name string) (i atomicfile.Info, err error) {
	err = d.l.do("lstat "+name, whole(func() (err error) { i, err = d.inner.Lstat(name); return err }))
	return i, err
}

func (d *dir) Stat() (i atomicfile.Info, err error) {
	err = d.l.do("stat "+d.path, whole(func() (err error) { i, err = d.inner.Stat(); return err }))
	return i, err
}

func (d *dir) Names() (names []string, err error) {
	err = d.l.do("list "+d.path,
		whole(func() (err error) { names, err = d.inner.Names(); return err }))
	return names, err
}

func (d *dir) Rename(from, to string) error {
	return d.l.do("rename "+from+" "+to, whole(func() error { return d.inner.Rename(from, to) }))
}

func (d *dir) Remove(name string) error {
	return d.l.do("remove "+name, whole(func() error { return d.inner.Remove(name) }))
}

func (d *dir) Sync() error { return d.l.do("sync "+d.path, whole(d.inner.Sync)) }

func (d *dir) Space() (s atomicfile.Space, err error) {
	err = d.l.do("statfs "+d.path, whole(func() (err error) { s, err = d.inner.Space(); return err }))
	return s, err
}

func (d *dir) Close() error { return d.l.drop(d.inner, d.path) }

type file struct {
	l     *Layer
	inner atomicfile.File
	name  string
}

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.l.do("read "+f.name, func(part int64) (err error) {
		n, err = f.inner.ReadAt(p[:int64(len(p))/part], off)
		return err
	})
	f.count(int64(n), 0)
	return n, err
}

func (f *file) Write(p []byte) (n int, err error) {
	err = f.l.do("write "+f.name, func(part int64) (err error) {
		n, err = f.inner.Write(p[:int64(len(p))/part])
		return err
	})
	f.count(0, int64(n))
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.l.do("write "+f.name, func(part int64) (err error) {
		n, err = f.inner.WriteAt(p[:int64(len(p))/part], off)
		return err
	})
	f.count(0, int64(n))
	return n, err
}

func (f *file) CopyFrom(src atomicfile.File, off, n int64) (done int64, err error) {
	if s, ok := src.(*file); ok {
		defer func() { s.count(done, 0) }()
		src = s.inner
	}
	err = f.l.do("copy "+f.name, func(part int64) (err error) {
		done, err = f.inner.CopyFrom(src, off, n/part)
		return err
	})
	f.count(0, done)
	return done, err
}

func (f *file) count(read, written int64) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	f.l.reads[f.name] += read
	f.l.writes += written
}

func (f *file) Allocate(size int64) error {
	return f.l.do("allocate "+f.name, whole(func() error { return f.inner.Allocate(size) }))
}

func (f *file) Truncate(size int64) error {
	return f.l.do("truncate "+f.name, whole(func() error { return f.inner.Truncate(size) }))
}

func (f *file) Push() error { return f.l.do("push "+f.name, whole(f.inner.Push)) }

func (f *file) Sync() error { return f.l.do("sync "+f.name, whole(f.inner.Sync)) }

func (f *file) Chmod(mode fs.FileMode) error {
	return f.l.do("chmod "+f.name, whole(func() error { return f.inner.Chmod(mode) }))
}

func (f *file) Chown(uid, gid int) error {
	return f.l.do("chown "+f.name, whole(func() error { return f.inner.Chown(uid, gid) }))
}

func (f *file) Stat() (i atomicfile.Info, err error) {
	err = f.l.do("stat "+f.name, whole(func() (err error) { i, err = f.inner.Stat(); return err }))
	return i, err
}

func (f *file) TryLock() error {
	return f.l.do("lock "+f.name, whole(f.inner.TryLock))
}

func (f *file) Close() error { return f.l.drop(f.inner, f.name) }
