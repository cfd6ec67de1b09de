// Command demo shows what this project is for, on a real kernel: a sops file is made, the secrets
// for the initrd are installed as a boot loader's hook does it, the kernel opens an encrypted disk
// with them, the real root installs the others; then all of it is rotated, and both generations
// boot with their own secrets. It exits 1 when anything is not as it should be.
//
//	go run ./vmtests/demo [-keep] [-dir build/demo]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	keep := flag.Bool("keep", false, "keep disks, images and sops files for a look")
	dir := flag.String("dir", "build/demo", "where everything is made; emptied first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Stdout, *dir, *keep)
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: error: %v\n", err)
		os.Exit(1)
	}
}
