package atomicfile

import (
	"errors"
	"io/fs"
	"os"
)

// WriteNew creates a file with the permissions perm, less the umask, and brings data to the disk.
// A file, directory or symbolic link of that name is an error that wraps fs.ErrExist and stays as
// it is. After an error there is no new file.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
