// Command bench measures whole processes: this project's programs and the tools that do the same
// work today, on data made by the real sops. It is run by "make bench", which builds the programs
// first.
//
// Every figure is of a process and the processes it waited for: wall time, processor time, peak
// memory (of the largest one), programs started, bytes read and written by system calls. Tools take
// turns within a case, so that a change of the machine's speed meets them all; times are medians,
// ratios are medians of the ratios of each turn.
//
// It needs root: secrets are installed as on a real host, on a ramfs, in a mount namespace that
// ends with the run.
package main

import (
	"os"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

func main() {
	os.Exit(run(cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv,
	}))
}
