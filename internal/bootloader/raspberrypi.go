package bootloader

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// raspberryPi is the firmware of a Raspberry Pi. It has no menu: it loads kernel.img, initrd and
// cmdline.txt, from the top of its partition or from the directory that os_prefix in config.txt
// names.
//
//   - The builder that nixpkgs had until 24.05 (raspberrypi-builder.sh) and nixos-raspberrypi's
//     kernelboot put the default's files at the top. Of older generations there are records:
//     N-system, N-initrd and others in old/ or nixos-kernels/, each with a path. Whoever goes back
//     copies what they name to the top.
//   - nixos-raspberrypi's newer bootloader "kernel" (nixos-generations-builder.sh) has a directory
//     for every generation, nixos/N-default.
func raspberryPi() loader {
	return loader{
		kind: RaspberryPi,
		form: `what a Raspberry Pi's firmware loads: initrd and
cmdline.txt, and directories or records of generations`,
		files: []string{
			"cmdline.txt", "*/*/cmdline.txt",
			"old/*" + systemSuffix, "nixos-kernels/*" + systemSuffix,
		},
		read: readRaspberryPi,
		chosen: func(m *Menu) {
			prefix := ""
			if f, err := m.dir.open("config.txt"); err == nil {
				text, _ := readText(f) // without it, the firmware has no prefix either
				for line := range strings.SplitSeq(text, "\n") {
					if value, ok := strings.CutPrefix(strings.TrimSpace(line), "os_prefix="); ok {
						prefix = value
					}
				}
				_ = f.Close() // only read from
			}
			for i, e := range m.Entries {
				m.Entries[i].Default = e.InPlace && path.Clean(path.Join(prefix, ".")) == path.Dir(e.file)
			}
		},
		// Records name files of this host.
		name:   func(m *Menu, _, initrd string) string { return path.Join(m.dir.abs, initrd) },
		rename: lastWord,
		finish: ownImages,
	}
}

// systemSuffix ends the names of the records that say which system a generation is.
const systemSuffix = "-system"

func readRaspberryPi(m *Menu, file string, f *os.File) ([]Entry, error) {
	text, err := readText(f)
	if err != nil {
		return nil, err
	}
	dir, name := path.Dir(file), path.Base(file)
	if generation, ok := strings.CutSuffix(name, systemSuffix); ok {
		if generation == "default" {
			return nil, nil // its files are at the top
		}
		return m.record(strings.TrimSpace(text), path.Join(dir, generation+"-initrd"), generation)
	}
	init := initOf().FindStringSubmatch(text)
	last := path.Base(dir)
	if init == nil || strings.Contains(last, ".tmp.") || strings.Contains(last, ".bkp.") {
		return nil, nil // somebody else's, or what an interrupted installer left and the next one removes
	}
	title := "default"
	if dir != "." {
		title = path.Base(dir)
	}
	return []Entry{{
		Title: title, Toplevel: init[1], Initrds: []string{m.dir.host(path.Join(dir, "initrd"))},
		InPlace: true, file: file, line: unchangeable,
	}}, nil
}

// record reads what is noted of an older generation.
func (m *Menu) record(toplevel, file, generation string) ([]Entry, error) {
	f, err := m.dir.open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := readText(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	initrd := strings.TrimSpace(text)
	if toplevel == "" || initrd == "" {
		return nil, nil
	}
	return []Entry{{
		Title: "generation " + generation, Toplevel: toplevel,
		Initrds: []string{m.onHost(file, initrd)}, file: file, line: 0,
	}}, nil
}

// Forget removes the record of an entry that installers never remove: that of an older generation
// of a Raspberry Pi. The firmware boots as before without it. It says whether the entry is gone.
func (m *Menu) Forget(e Entry) (bool, error) {
	if m.Kind != RaspberryPi || e.InPlace {
		return false, nil
	}
	name, err := m.dir.ours(e.file)
	if err == nil {
		err = os.Remove(name)
	}
	return err == nil, err
}
