package loadertest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// right is the verdict when every entry sees its own secrets and nothing else.
const right = "right"

// verdict says which secrets each entry of the menu would find at boot: "right", or who sees what.
func (w *World) verdict(l Loader) string {
	var wrong []string
	for _, g := range w.all() {
		if seen := w.sees(l, g); seen != "its own" {
			wrong = append(wrong, g.Name+" "+seen)
		}
	}
	if len(wrong) == 0 {
		return right
	}
	return strings.Join(wrong, ", ")
}

// sees says whose secrets a generation's entry finds.
func (w *World) sees(l Loader, g *Generation) string {
	e, err := l.Entry(w, g)
	if err != nil {
		return errNoEntry.Error()
	}
	var initrds [][]byte
	for _, name := range e.Initrds {
		data, err := os.ReadFile(name)
		if err != nil {
			return errNoEntry.Error()
		}
		initrds = append(initrds, data)
	}
	files := unpack(l.Joined(initrds))
	if files["init"] == "" {
		return "panics: its base is not unpacked"
	}
	found := secretsIn(files)
	switch {
	case maps.Equal(found, g.Secrets):
		return "its own"
	case len(found) == 0:
		return "has none"
	case maps.Equal(found, g.Earlier):
		return "keeps its earlier ones"
	}
	for _, other := range w.all() {
		if maps.Equal(found, other.Secrets) {
			return "sees " + other.Name + "'s"
		}
	}
	if surplus(found, g.Secrets) {
		return "sees more than its own"
	}
	for _, value := range found {
		if strings.ContainsRune(value, 0) || value == "" {
			return "has torn ones"
		}
	}
	return "sees a mixture"
}

// surplus says whether found has all of want and something else.
func surplus(found, want map[string]string) bool {
	for path, value := range want {
		if found[path] != value {
			return false
		}
	}
	return len(found) > len(want)
}

// plaintextOf says which of the values can be found in the boot directory or in TMPDIR, compressed
// archives unpacked.
func (w *World) plaintextOf(values ...string) (where []string, err error) {
	for _, root := range []string{w.Boot, w.Temp} {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text := string(data)
			for offset := range 4 { // a second initrd may lie anywhere
				_, contents := unpackAll(append(make([]byte, offset), data...))
				text += strings.Join(contents, "\n")
			}
			for _, v := range values {
				if strings.Contains(text, v) {
					where = append(where, filepath.Base(name))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return where, nil
}

// bootFile is what is remembered of a file to see whether it was written.
type bootFile struct {
	inode uint64
	size  int64
	sum   string
}

// images are the files that are loaded as initrds by any entry.
func (w *World) images(l Loader) map[string]bootFile {
	images := make(map[string]bootFile)
	for _, g := range w.all() {
		e, err := l.Entry(w, g)
		if err != nil {
			continue
		}
		for _, name := range e.Initrds {
			sum, err := fileSum(name)
			info, err2 := os.Stat(name)
			if err == nil && err2 == nil {
				images[name] = bootFile{inodeOf(info), info.Size(), sum}
			}
		}
	}
	return images
}
