package generation

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// dirMode is the mode of all directories: a member of their group may list them, everybody may
// pass through to a file that they may read.
const dirMode fs.FileMode = 0o751

// File is the content of an installed file and whose it is.
type File struct {
	Data     []byte
	Mode     fs.FileMode
	UID, GID uint32
}

// tree is a directory that this package writes to, below which no path leads out.
type tree struct {
	root    *os.Root
	machine Machine
	// group owns the directories, together with root. Without owners nothing is chowned: the
	// caller is not root.
	group  uint32
	owners bool
}

func (t tree) fault(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	return &fs.PathError{Op: op, Path: path.Join(t.root.Name(), name), Err: err}
}

func (t tree) step(op, name string) error {
	return t.fault(op, name, t.machine.Step(op, path.Join(t.root.Name(), name)))
}

// mkdir makes one directory that only its owner can enter.
func (t tree) mkdir(name string) error {
	if err := t.step("mkdir", name); err != nil {
		return err
	}
	return t.fault("mkdir", name, t.root.Mkdir(name, 0o700))
}

// openUp gives a directory its owner and mode, whatever the umask was.
func (t tree) openUp(name string) error {
	dir, err := t.root.Open(name)
	if err != nil {
		return t.fault("open", name, err)
	}
	return errors.Join(t.own(dir, name, dirMode, 0, t.group), dir.Close())
}

// own sets the owner before the mode: a change of the owner clears set-user-ID (chown(2)).
func (t tree) own(f *os.File, name string, mode fs.FileMode, uid, gid uint32) error {
	if t.owners {
		if err := t.step("chown", name); err != nil {
			return err
		}
		if err := t.machine.Chown(f, uid, gid); err != nil {
			return t.fault(fmt.Sprintf("chown to %d:%d", uid, gid), name, err)
		}
	}
	if err := t.step("chmod", name); err != nil {
		return err
	}
	return t.fault("chmod", name, f.Chmod(mode))
}

// write makes a file that did not exist. Nobody can open it before it has its content, owner and
// mode.
func (t tree) write(name string, f File) (err error) {
	if err := t.step("create", name); err != nil {
		return err
	}
	file, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return t.fault("create", name, err)
	}
	defer func() { err = errors.Join(err, t.fault("close", name, file.Close())) }()
	if err := t.step("write", name); err != nil {
		return err
	}
	if _, err := file.Write(f.Data); err != nil {
		return t.fault("write", name, err)
	}
	return t.own(file, name, f.Mode, f.UID, f.GID)
}

func (t tree) rename(from, to string) error {
	if err := t.step("rename", to); err != nil {
		return err
	}
	return t.fault("rename", to, t.root.Rename(from, to))
}

// remove removes what is at name, if anything is.
func (t tree) remove(name string) error {
	if _, err := t.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := t.step("remove", name); err != nil {
		return err
	}
	return t.fault("remove", name, t.root.RemoveAll(name))
}

// read returns a regular file of root with its owner and mode.
func read(root *os.Root, name string) (File, error) {
	// O_NONBLOCK: a pipe that somebody left there must not make the run wait.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return File{}, err
	}
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	file := File{Data: data, Mode: info.Mode() & bits}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		file.UID, file.GID = stat.Uid, stat.Gid
	}
	return file, nil
}
