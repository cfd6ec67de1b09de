package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// replace writes a file as a whole, readable by its owner only. On failure the old one, if any, is still there.
func replace(name string, data []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write record: %w", err), os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
