package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
)

func installLoaderCommand(e cli.Env) *cobra.Command {
	o := bootloader.Options{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Hook: *hookOptions(e)}
	var kind string
	c := &cobra.Command{
		Use:   "install-loader --loader KIND [--boot DIRECTORY]… -- INSTALLER ARGUMENT… TOPLEVEL",
		Short: "Run a boot loader's installer, then add secrets to its entries",
		Long: `install-loader is for boot loaders whose installers know nothing of initrd
secrets, or do not say when they could not be made (limine). It runs INSTALLER
as it is, keeping its output and exit status. Then it reads the menu that was
written.

KIND is how that menu is written:
` + bootloader.Forms() + `

Each system with secrets gets an initrd of its own below sops-initrd/ in the
boot directory, made by that system's own appender, and its entries load that.
Where the file has a fixed name (raspberrypi, listed), the secrets are added to
that file. For limine, modules that are out of date are renewed, and an entry
that lacks its secrets is an error. Entries that INSTALLER did not write, in
this run or in one before that did not succeed, stay as they are.

TOPLEVEL, the last argument, is the system to boot by default. When its secrets
cannot be had, nothing is changed and INSTALLER is not run. Older systems that
lack theirs are warnings. After SIGINT or SIGTERM the installer and its children
are ended, and nothing is written any more.`,
		Example: `  sops-initrd install-loader --loader limine -- limine-install TOPLEVEL
  sops-initrd install-loader --loader extlinux -- extlinux-builder -c TOPLEVEL`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 || c.ArgsLenAtDash() != 0 {
				err := fmt.Errorf("%s: -- INSTALLER … TOPLEVEL is missing", c.Name())
				return cli.WithHint(cli.Usage(err), seeHelp(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Kind, o.Installer = bootloader.Kind(kind), args
			if err := checkBoots(c, o.Boots); err != nil {
				return err
			}
			if err := bootloader.Supports(o.Kind); err != nil {
				return cli.Usage(fmt.Errorf("%s: %w", c.Name(), err))
			}
			return bootloader.Install(c.Context(), o)
		},
	}
	c.Flags().StringVar(&kind, "loader", "", "`kind` of the boot loader, see above")
	kinds := cobra.FixedCompletions(bootloader.Supported(), cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc("loader", kinds); err != nil {
		panic(err) // the flag is there
	}
	bootFlag(c, &o.Boots)
	variablesFlag(c, &o.Variables)
	c.Flags().StringVar(&o.Hook.State, "state", record.DefaultDir,
		"`directory` of the records of what this host installed")
	noKeyFlag(c, &o.Hook.SkipNoKey)
	required(c, "loader", "state")
	return c
}

func bootFlag(c *cobra.Command, boots *[]string) {
	c.Flags().StringArrayVar(boots, "boot", []string{"/boot"},
		"`directory` where the boot loader's partition is mounted; repeatable")
}

func variablesFlag(c *cobra.Command, variables *string) {
	c.Flags().StringVar(variables, "efivars", bootloader.VariablesDir,
		"`directory` with the variables of the firmware")
}

func checkBoots(c *cobra.Command, boots []string) error {
	if slices.Contains(boots, "") {
		return cli.WithHint(cli.Usage(fmt.Errorf("%s: --boot is empty", c.Name())), seeHelp(c))
	}
	return nil
}
