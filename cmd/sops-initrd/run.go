package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/progress"
)

// program is the name under which everything is reported.
const program = "sops-initrd"

// run is the program: it parses the command line, does what it says and returns the exit status.
func run(e cli.Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	result := &written{Writer: e.Stdout}
	e.Stdout = result
	root := rootCommand(e)
	root.SetContext(progress.With(ctx, cli.Progress(e)))
	root.SetArgs(e.Args)
	c, err := root.ExecuteC()
	printFailure(c, result, err)
	var installer *bootloader.ExitError
	if errors.As(err, &installer) {
		return installer.Status // it has said why
	}
	status := cli.Report(e, program, err)
	if status == cli.Failed && ctx.Err() != nil {
		return cli.Stopped
	}
	return status
}

// rootCommand is the tree of all commands. Nothing of it is shared between two calls.
func rootCommand(e cli.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Put secrets from sops files into an initrd",
		Long: `sops-initrd decrypts the secrets that a machine needs before its root file system is
there and puts them into its initrd, while the boot loader is being installed. What
it adds is one segment at the end of the image: running it again replaces that
segment, never adds a second one, and an image is either changed as a whole or not
at all.

Exit status: 0 when done (for verify: yes), 1 when something failed (for verify:
no), 2 when the command line is wrong, 130 when a signal ended the run. Results go
to standard output, everything else to standard error.`,
		Version:                    cli.Version(),
		SuggestionsMinimumDistance: 2,
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return missingCommand(c) },
		SilenceErrors:              true,
		SilenceUsage:               true,
		DisableAutoGenTag:          true,
	}
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return cli.WithHint(cli.Usage(err), seeHelp(c))
	})
	root.AddCommand(
		appendCommand(e), planCommand(e), inspectCommand(e), verifyCommand(e), removeCommand(e),
		checkCommand(e), bootstrapCommand(e),
		diagnoseCommand(e), installLoaderCommand(e), statusCommand(e), enrollCommand(e),
		versionCommand(e),
	)
	addManCommand(root)
	addHelp(root, e)
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	return root
}

// noCommand is reached with arguments only when the first of them is not a command.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := cli.Usage(fmt.Errorf("unknown command %q", args[0]))
	if other := elsewhere[args[0]]; other != "" {
		return cli.WithHint(err, other)
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return cli.WithHint(err, "did you mean "+strings.Join(near, " or ")+"?")
	}
	return cli.WithHint(err, seeHelp(c))
}

func missingCommand(c *cobra.Command) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return cli.WithHint(cli.Usage(fmt.Errorf("no command given (one of %s)", strings.Join(names,
		", "))), seeHelp(c))
}

func seeHelp(c *cobra.Command) string { return "see " + c.CommandPath() + " --help" }

// noOperand refuses all.
func noOperand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return cli.WithHint(cli.Usage(fmt.Errorf("%s: no operand expected, got %q", c.Name(), args)),
		seeHelp(c))
}

// operand makes sure that a command gets exactly one operand, and says what it is when it does not.
func operand(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return cli.WithHint(cli.Usage(fmt.Errorf("%s: no %s given", c.Name(), name)), seeHelp(c))
		case len(args) > 1:
			return cli.WithHint(cli.Usage(fmt.Errorf("%s: one %s expected, got %d operands: %q", c.Name(),
				name, len(args), args)), seeHelp(c))
		case args[0] == "":
			return cli.WithHint(cli.Usage(fmt.Errorf("%s: the name of the %s is empty", c.Name(), name)),
				seeHelp(c))
		}
		return nil
	}
}

// required makes a flag one that must be given and must not be empty.
func required(c *cobra.Command, flags ...string) {
	inner := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, name := range flags {
			if c.Flag(name).Value.String() == "" {
				return cli.WithHint(cli.Usage(fmt.Errorf("%s: --%s is missing", c.Name(), name)), seeHelp(c))
			}
		}
		return inner(c, args)
	}
}
