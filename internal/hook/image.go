package hook

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenImage opens an image for reading and says how long it is. What is not a regular file is an error.
func OpenImage(name string) (*os.File, int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("image %s: is %s, not a file", name, kind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
