// Command reader reads a file over and over, in a guest that replaces it meanwhile, until there is
// a file STOP. It reports how often it could not be read, how many contents it had, and on how many
// file systems it was.
//
//	reader FILE STOP
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	file, stop := os.Args[1], os.Args[2]
	contents, systems := map[string]bool{}, map[uint64]bool{}
	reads, failures := 0, map[string]int{}
	fmt.Println("READING")
	for {
		if _, err := os.Stat(stop); err == nil && reads > 0 {
			break
		}
		for range 50 {
			reads++
			data, system, err := read(file)
			if err != nil {
				failures[err.Error()]++
				continue
			}
			contents[string(data)], systems[system] = true, true
		}
	}
	fmt.Printf("RESULT reads ok %d\n", reads)
	fmt.Printf("RESULT reader ok failures %v, contents %d, file systems %d\n", failures, len(contents),
		len(systems))
}

func read(file string) (data []byte, system uint64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data = make([]byte, info.Size())
	_, err = f.ReadAt(data, 0)
	return data, uint64(info.Sys().(*syscall.Stat_t).Dev), err
}
