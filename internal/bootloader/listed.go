package bootloader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ListName is the file in the boot directory in which an installer lists what it installed, for
// loaders with a menu that is not known here.
const ListName = "sops-initrd.json"

func listed() loader {
	return loader{
		kind: Listed,
		form: ListName + ` in the boot directory, written by INSTALLER:
{"version": 1, "entries": [{"title": "…",
"system": "/nix/store/…", "image": "path"}]},
each image below the boot directory and that of
one system only`,
		files:    []string{ListName},
		read:     readList,
		protocol: true,
		finish:   ownImages,
	}
}

// list has the form of that file.
type list struct {
	Version int `json:"version"` // 1
	Entries []struct {
		// Title is what the user is told; the name of the system when it is empty.
		Title string `json:"title"`
		// System is the system (toplevel) that the entry boots.
		System string `json:"system"`
		// Image is the initrd that it loads, absolute or from the boot directory, and below it.
		Image string `json:"image"`
	} `json:"entries"`
}

// readList reads such a file. The secrets are put into the images that it names, so each must be a
// file below the boot directory, reached without links, and that of one system only.
func readList(m *Menu, file string, f *os.File) ([]Entry, error) {
	text, err := readText(f)
	if err != nil {
		return nil, err
	}
	var l list
	d := json.NewDecoder(strings.NewReader(text))
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
	var entries []Entry
	owners := make(map[string]string)
	for i, e := range l.Entries {
		image := e.Image
		if !filepath.IsAbs(image) {
			image = filepath.Join(m.dir.abs, image)
		}
		image = filepath.Clean(image)
		rel, below := m.dir.below(image)
		switch {
		case !filepath.IsAbs(e.System):
			return nil, fmt.Errorf("entry %d: system %q is not an absolute path", i+1, e.System)
		case e.Image == "":
			return nil, fmt.Errorf("entry %d: has no image", i+1)
		case !below:
			return nil, fmt.Errorf("entry %d: image %s is not below %s", i+1, image, m.dir.abs)
		}
		if _, err := m.dir.ours(rel); err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("entry %d: image %w", i+1, err)
		}
		// FAT does not distinguish upper and lower case.
		system, key := real(e.System), strings.ToLower(rel)
		if other, taken := owners[key]; taken && other != system {
			return nil, fmt.Errorf("entry %d: image %s is that of %s, too; "+
				"every system needs one of its own",
				i+1, image, other)
		}
		owners[key] = system
		title := e.Title
		if title == "" {
			title = filepath.Base(e.System)
		}
		entries = append(entries, Entry{
			Title: title, Toplevel: e.System, Initrds: []string{m.dir.host(rel)},
			InPlace: true, file: file, line: unchangeable,
		})
	}
	return entries, nil
}
