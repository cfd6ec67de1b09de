// Command sops-initrd puts secrets from sops files into an initrd while its boot loader is
// being installed.
package main

import (
	"os"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

func main() {
	cli.Protect()
	os.Exit(run(cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv,
	}))
}
