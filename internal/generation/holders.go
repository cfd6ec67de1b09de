package generation

import (
	"bytes"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// held returns the numbers of the generations below mountPoint in which some process has something open, or works. It reads the
// names that /proc gives to open files and touches none of them: one on a dead network file system would not answer.
//
// To look at all open files of a machine is most of what an installation of a few secrets takes: hence names relative to an open
// directory, and two workers.
func held(mountPoint string) map[uint64]bool {
	numbers := make(map[uint64]bool)
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return numbers // without /proc nobody is known to hold anything
	}
	defer unix.Close(proc)

	var mu sync.Mutex
	note := func(number string) {
		mu.Lock()
		defer mu.Unlock()
		numbers[parseNumber(number)] = true
	}
	processes := names(proc, make([]byte, direntBytes))
	half := len(processes) / 2
	var workers sync.WaitGroup
	for _, part := range [][]string{processes[:half], processes[half:]} {
		workers.Go(func() { lookThrough(proc, part, []byte(mountPoint+"/"), note) })
	}
	workers.Wait()
	delete(numbers, 0)
	return numbers
}

// direntBytes is the size of a buffer for directory entries.
const direntBytes = 16 << 10

// lookThrough calls note with the first name below the prefix of everything that processes have open. A process that is gone
// meanwhile, or somebody else's, has nothing open as far as can be seen.
func lookThrough(proc int, processes []string, prefix []byte, note func(string)) {
	link, dirents := make([]byte, unix.PathMax), make([]byte, direntBytes)
	look := func(dir int, name string) {
		n, err := unix.Readlinkat(dir, name, link)
		if err != nil {
			return
		}
		// A process in another root directory may have a longer path to it.
		if _, rest, ok := bytes.Cut(append(link[:n:n], '/'), prefix); ok {
			number, _, _ := bytes.Cut(rest, []byte("/"))
			note(string(number))
		}
	}
	for _, p := range processes {
		if parseNumber(p) == 0 {
			continue
		}
		look(proc, path.Join(p, "cwd"))
		files, err := unix.Openat(proc, path.Join(p, "fd"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		for _, f := range names(files, dirents) {
			look(files, f)
		}
		_ = unix.Close(files) // nothing was written
	}
}

// names are the entries of an open directory, as far as they can be read.
func names(dir int, buffer []byte) []string {
	var all []string
	for {
		n, err := unix.ReadDirent(dir, buffer)
		if err != nil || n <= 0 {
			return all
		}
		_, _, all = unix.ParseDirent(buffer[:n], -1, all)
	}
}
