package bootmenu

import (
	"os"
	"path/filepath"
	"strings"
)

// systemSuffix ends the names of the records that say which system a generation is.
const systemSuffix = "-system"

// raspberryPi reads an entry of a Raspberry Pi. Its firmware has no menu: it loads kernel.img, initrd and cmdline.txt, from the top of
// its partition or from the directory that os_prefix in config.txt names.
//
//   - The builder that nixpkgs had until 24.05 (raspberrypi-builder.sh) and nixos-raspberrypi's kernelboot put the default's files at
//     the top. Of older generations there are records: N-system, N-initrd and others in old/ or nixos-kernels/, each with a path.
//     Whoever goes back copies what they name to the top.
//   - nixos-raspberrypi's newer bootloader "kernel" (nixos-generations-builder.sh) has a directory for every generation, nixos/N-default.
func (m *Menu) raspberryPi(file string) ([]Entry, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Split(file)
	if generation, ok := strings.CutSuffix(name, systemSuffix); ok {
		if generation == "default" {
			return nil, nil // its files are at the top
		}
		return m.record(strings.TrimSpace(string(data)), filepath.Join(dir, generation+"-initrd"), generation)
	}
	init := initOf().FindStringSubmatch(string(data))
	if init == nil || strings.Contains(filepath.Base(dir), ".tmp.") || strings.Contains(filepath.Base(dir), ".bkp.") {
		return nil, nil // somebody else's, or what an interrupted installer left and the next one removes
	}
	title := "default"
	if filepath.Clean(dir) != filepath.Clean(m.Boot) {
		title = filepath.Base(dir)
	}
	return []Entry{{Title: title, Toplevel: init[1], Initrds: []string{filepath.Join(dir, "initrd")}, InPlace: true, file: file, line: -1}}, nil
}

// record reads what is noted of an older generation.
func (m *Menu) record(toplevel, file, generation string) ([]Entry, error) {
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	initrd := strings.TrimSpace(string(data))
	if toplevel == "" || initrd == "" {
		return nil, nil
	}
	return []Entry{{Title: "generation " + generation, Toplevel: toplevel, Initrds: []string{initrd}, file: file, line: 0}}, nil
}

// Forget removes the record of an entry, where it is one that installers never remove: those of a Raspberry Pi's older generations.
// Without a record the firmware boots what it booted. It says whether the entry is gone.
func (m *Menu) Forget(e Entry) (bool, error) {
	if m.Kind != RaspberryPi || e.InPlace {
		return false, nil
	}
	err := os.Remove(e.file)
	return err == nil, err
}
