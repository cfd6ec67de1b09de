package generation

import (
	"os"
	"path/filepath"
	"strings"
)

// held returns the numbers of the generations below mountPoint in which some process has something open, or works. It reads the
// names that /proc gives to open files and touches none of them: one on a dead network file system would not answer.
func held(mountPoint string) map[uint64]bool {
	numbers := make(map[uint64]bool)
	note := func(link string) {
		name, err := os.Readlink(link)
		if err != nil {
			return
		}
		if _, rest, ok := strings.Cut(name+"/", mountPoint+"/"); ok {
			number, _, _ := strings.Cut(rest, "/")
			numbers[parseNumber(number)] = true
		}
	}
	processes, _ := os.ReadDir("/proc") // without /proc nobody is known to hold anything
	for _, p := range processes {
		if parseNumber(p.Name()) == 0 {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		note(filepath.Join(dir, "cwd"))
		files, _ := os.ReadDir(filepath.Join(dir, "fd")) // gone, or somebody else's
		for _, f := range files {
			note(filepath.Join(dir, "fd", f.Name()))
		}
	}
	delete(numbers, 0)
	return numbers
}
