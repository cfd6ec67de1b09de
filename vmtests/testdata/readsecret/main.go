// Command readsecret describes files to the harness, in a guest without a shell, and powers off.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	for _, path := range os.Args[1:] {
		data, err := os.ReadFile(path)
		if err != nil {
			fmt.Printf("RESULT %s fail %v\n", path, err)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			fmt.Printf("RESULT %s fail %v\n", path, err)
			continue
		}
		sys := info.Sys().(*syscall.Stat_t)
		fmt.Printf("RESULT %s ok file %o %d %d %d %x\n", path, info.Mode().Perm(), sys.Uid, sys.Gid,
			len(data), sha256.Sum256(data))
	}
	fmt.Println("DONE")
	time.Sleep(100 * time.Millisecond) // the console drains
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println(err)
	}
}
