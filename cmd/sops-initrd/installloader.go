package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sops-initrd/internal/bootmenu"
	"sops-initrd/internal/cli"
	"sops-initrd/internal/provision"
	"sops-initrd/internal/record"
)

func installLoaderCommand(e cli.Env) *cobra.Command {
	o := provision.Options{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Hook: *hookOptions(e)}
	var kind string
	c := &cobra.Command{
		Use:   "install-loader --loader KIND [--boot DIRECTORY] -- INSTALLER ARGUMENT… TOPLEVEL",
		Short: "Run a boot loader's installer and see to the secrets of what it installed",
		Long: `install-loader is for boot loaders whose installers know nothing of initrd secrets (extlinux, refind), or do not say when
they could not be made (limine). It runs INSTALLER as it is, keeping its output and exit status; then it reads the menu that was
written.

For extlinux, refind and systemd-boot entries, each system with secrets gets an initrd of its own below sops-initrd/ in the boot
directory, made by that system's own appender, and its entries load that. For limine, modules that are out of date are
renewed, and an entry that lacks its secrets is found.

TOPLEVEL, the last argument, is the system to boot by default. When its secrets cannot be had, nothing is changed and INSTALLER is
not run. Older systems that lack theirs are warnings.`,
		Example: `  sops-initrd install-loader --loader extlinux --boot /boot -- extlinux-conf-builder -t 5 -c /nix/var/nix/profiles/system
  sops-initrd install-loader --loader limine --boot /boot -- limine-install /nix/var/nix/profiles/system`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 || c.ArgsLenAtDash() != 0 {
				return cli.WithHint(cli.Usage(fmt.Errorf("%s: -- INSTALLER … TOPLEVEL is missing", c.Name())), seeHelp(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Kind, o.Installer = bootmenu.Kind(kind), args
			if !provision.Supports(o.Kind) {
				var kinds []string
				for _, k := range bootmenu.Kinds() {
					if provision.Supports(k) {
						kinds = append(kinds, string(k))
					}
				}
				return cli.Usage(fmt.Errorf("%s: loader %q is not known (one of %s)", c.Name(), kind, strings.Join(kinds, ", ")))
			}
			return provision.Install(c.Context(), o)
		},
	}
	c.Flags().StringVar(&kind, "loader", "", "`kind` of the boot loader: extlinux, limine, refind, systemd-boot")
	bootFlag(c, &o.Boot)
	c.Flags().StringVar(&o.Hook.State, "state", record.DefaultDir, "`directory` of the records of what this host installed")
	noKeyFlag(c, &o.Hook.SkipNoKey)
	required(c, "loader", "boot")
	return c
}

func bootFlag(c *cobra.Command, boot *string) {
	c.Flags().StringVar(boot, "boot", "/boot", "`directory` where the boot loader's partition is mounted")
}
