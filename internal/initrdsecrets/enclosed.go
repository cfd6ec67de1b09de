package initrdsecrets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/frame"
)

// imageMode is that of images with secrets.
const imageMode fs.FileMode = 0o600

// planEnclosed decides what becomes of an image that is to be one enclosed segment and nothing else.
func planEnclosed(image string, s *initrd.Segment, o initrd.Options) (initrd.Result, error) {
	result, _, err := enclosed(image, s)
	return result, err
}

// installEnclosed makes an image one enclosed segment and nothing else. The file is replaced as a whole, or not touched.
func installEnclosed(image string, s *initrd.Segment, o initrd.Options) (initrd.Result, error) {
	result, file, err := enclosed(image, s)
	switch {
	case err != nil || result.Action == initrd.Unchanged:
		return result, err
	case result.Action == initrd.Removed:
		return result, os.Remove(image)
	}
	if err := atomicfile.WriteFile(atomicfile.OS(), image, file, atomicfile.Attr{Mode: imageMode, UID: -1, GID: -1}); err != nil {
		return initrd.Result{}, fmt.Errorf("write image %s: %w", image, err)
	}
	return result, nil
}

// enclosed has the file that an image should be, and what that means to the one that is there.
func enclosed(image string, s *initrd.Segment) (initrd.Result, []byte, error) {
	old, err := readOld(image)
	if err != nil {
		return initrd.Result{}, nil, err
	}
	result := initrd.Result{Action: initrd.Created, OldSize: -1}
	if old != nil {
		result.OldSize, result.Cut = int64(len(old)), int64(len(old))
	}
	if s.Empty() {
		result.Action, result.OldSize = initrd.Removed, int64(len(old))
		if len(old) == 0 {
			result.Action = initrd.Unchanged
		}
		return result, nil, nil
	}
	segment, err := s.Bytes(0)
	if err != nil {
		return initrd.Result{}, nil, err
	}
	content := append(make([]byte, initrd.Padding(0)), segment...)
	file, err := frame.Wrap(content)
	if err != nil {
		return initrd.Result{}, nil, err
	}
	found, err := initrd.Find(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return initrd.Result{}, nil, fmt.Errorf("segment just made: %w", err)
	}
	result.Size, result.Written = int64(len(file)), int64(len(file))
	result.Offset, result.Length, result.Sum = found.Offset, found.Length, found.Sum
	switch {
	case bytes.Equal(old, file):
		result.Action, result.Written, result.Cut = initrd.Unchanged, 0, 0
	case len(old) > 0:
		result.Action = initrd.Replaced
	}
	return result, file, nil
}

// readOld reads the image that is there, which must be empty or one that was enclosed before. It is nil when there is none.
func readOld(image string) ([]byte, error) {
	info, err := os.Lstat(image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("image %s: is %s, not a file", image, kind(info.Mode()))
	}
	i, err := OpenImage(image)
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.Close() }() // only read from
	if i.Enclosed || i.Size == 0 {
		old := make([]byte, info.Size())
		_, err := i.file.ReadAt(old, 0)
		return old, err
	}
	return nil, cli.WithHint(fmt.Errorf("image %s: holds something else than enclosed secrets, which --enclose would replace", image),
		"without --enclose the secrets are put behind what is there")
}
