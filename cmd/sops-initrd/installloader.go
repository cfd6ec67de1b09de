package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/bootmenu"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
)

func installLoaderCommand(e cli.Env) *cobra.Command {
	o := bootloader.Options{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Hook: *hookOptions(e)}
	var kind string
	c := &cobra.Command{
		Use:   "install-loader --loader KIND [--boot DIRECTORY]… -- INSTALLER ARGUMENT… TOPLEVEL",
		Short: "Run a boot loader's installer and see to the secrets of what it installed",
		Long: `install-loader is for boot loaders whose installers know nothing of initrd secrets, or do not say when they could not be made
(limine). It runs INSTALLER as it is, keeping its output and exit status; then it reads the menu that was written.

KIND is how that menu is written:
  extlinux       extlinux/extlinux.conf, also of U-Boot; with several --boot, all of them
  refind         efi/refind/refind.conf
  systemd-boot   loader/entries/*.conf of the Boot Loader Specification
  raspberrypi    what a Raspberry Pi's firmware loads: initrd and cmdline.txt, and directories or records of generations
  efi-boot-stub  boot entries of the firmware that start the kernel directly (made with efibootmgr), and scripts for the
                 firmware's shell, efi/nixos/generation-*-startup.nsh
  listed         sops-initrd.json in the boot directory, written by INSTALLER: {"version": 1, "entries": [{"title": "…",
                 "system": "/nix/store/…", "image": "path"}]}, each image below the boot directory and that of one system only
  limine         limine/limine.conf

Each system with secrets gets an initrd of its own below sops-initrd/ in the boot directory, made by that system's own appender, and its
entries load that. Where the file that is loaded has a fixed name (raspberrypi, listed), the secrets go into that file. For limine,
modules that are out of date are renewed, and an entry that lacks its secrets is found.

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
			if err := checkBoots(c, o.Boots); err != nil {
				return err
			}
			if !bootloader.Supports(o.Kind) {
				return cli.Usage(fmt.Errorf("%s: %s", c.Name(), whyNot(o.Kind)))
			}
			return bootloader.Install(c.Context(), o)
		},
	}
	c.Flags().StringVar(&kind, "loader", "", "`kind` of the boot loader, see above")
	bootFlag(c, &o.Boots)
	variablesFlag(c, &o.Variables)
	c.Flags().StringVar(&o.Hook.State, "state", record.DefaultDir, "`directory` of the records of what this host installed")
	noKeyFlag(c, &o.Hook.SkipNoKey)
	required(c, "loader", "state")
	return c
}

// initScript is the loader of nixpkgs' init-script.nix: /sbin/init, a script that executes the second stage. Whoever starts it, a container
// or a kernel with drivers of its own, has loaded no initrd of NixOS.
const initScript = "init-script"

// whyNot says why there is nothing to do for a kind of loader.
func whyNot(kind bootmenu.Kind) string {
	if kind == bootmenu.GRUB || kind == bootmenu.Lanzaboote {
		return fmt.Sprintf("the installer of loader %q installs initrd secrets itself", kind)
	}
	if kind == initScript {
		return fmt.Sprintf("loader %q starts a system without an initrd, so there is nothing that secrets could be put into", kind)
	}
	var kinds []string
	for _, k := range bootmenu.Kinds() {
		if bootloader.Supports(k) {
			kinds = append(kinds, string(k))
		}
	}
	return fmt.Sprintf("loader %q is not known (one of %s)", kind, strings.Join(kinds, ", "))
}

func bootFlag(c *cobra.Command, boots *[]string) {
	c.Flags().StringArrayVar(boots, "boot", []string{"/boot"}, "`directory` where the boot loader's partition is mounted; may be given several times")
}

func variablesFlag(c *cobra.Command, variables *string) {
	c.Flags().StringVar(variables, "efivars", bootmenu.VariablesDir, "`directory` where the variables of the firmware are, whose boot entries can start a kernel directly")
}

func checkBoots(c *cobra.Command, boots []string) error {
	if slices.Contains(boots, "") {
		return cli.WithHint(cli.Usage(fmt.Errorf("%s: --boot is empty", c.Name())), seeHelp(c))
	}
	return nil
}
