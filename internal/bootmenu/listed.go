package bootmenu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ListName is the file in the boot directory in which an installer lists what it installed, for loaders whose form is not known here.
const ListName = "sops-initrd.json"

// list has the form of that file.
type list struct {
	Version int `json:"version"` // 1
	Entries []struct {
		// Title is what the user is told; the system when it is empty.
		Title string `json:"title"`
		// System is the system (toplevel) that the entry boots.
		System string `json:"system"`
		// Image is the initrd that it loads, absolute or from the boot directory, and below it.
		Image string `json:"image"`
	} `json:"entries"`
}

// list reads such a file. An image must be below the boot directory, and that of one system only.
func (m *Menu) list(file string) ([]Entry, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var l list
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something behind the object")
	}
	if l.Version != 1 {
		return nil, fmt.Errorf("version %d is not known (1 is)", l.Version)
	}
	boot, err := filepath.Abs(m.Boot)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	owners := make(map[string]string)
	for i, e := range l.Entries {
		image := e.Image
		if !filepath.IsAbs(image) {
			image = filepath.Join(boot, image)
		}
		image = filepath.Clean(image)
		switch {
		case !filepath.IsAbs(e.System):
			return nil, fmt.Errorf("entry %d: system %q is not an absolute path", i+1, e.System)
		case e.Image == "":
			return nil, fmt.Errorf("entry %d: has no image", i+1)
		case !below(boot, image):
			return nil, fmt.Errorf("entry %d: image %s is not below %s", i+1, image, boot)
		}
		if real, err := filepath.EvalSymlinks(image); err == nil && !below(boot, real) {
			return nil, fmt.Errorf("entry %d: image %s is %s, which is not below %s", i+1, image, real, boot)
		}
		system := e.System
		if real, err := filepath.EvalSymlinks(system); err == nil {
			system = real
		}
		if other, taken := owners[image]; taken && other != system {
			return nil, fmt.Errorf("entry %d: image %s is that of %s, too; every system needs one of its own", i+1, image, other)
		}
		owners[image] = system
		title := e.Title
		if title == "" {
			title = filepath.Base(e.System)
		}
		entries = append(entries, Entry{Title: title, Toplevel: e.System, Initrds: []string{image}, InPlace: true, file: file, line: -1})
	}
	return entries, nil
}

// below says whether a file is below a directory, whose own links do not count.
func below(dir, name string) bool {
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir && below(real, name) {
		return true
	}
	rel, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(rel) && rel != "."
}
