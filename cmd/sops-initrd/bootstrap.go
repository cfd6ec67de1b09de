package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootstrap"
	"github.com/sops-initrd/sops-initrd/internal/cli"
)

func bootstrapCommand(e cli.Env) *cobra.Command {
	r := bootstrap.Request{Warn: func(text string) { cli.Warn(e, program, "%s", text) }}
	var asJSON bool
	c := &cobra.Command{
		Use:   "bootstrap [--host-key KEY] [--name NAME] [--port PORT] [--luks DEVICE] FILE",
		Short: "Create an SSH host key for the initrd, in a sops file",
		Long: `bootstrap creates an SSH host key for the initrd and, with --luks, a key file for a
LUKS device, and encrypts them into the sops file FILE. A new FILE is encrypted for
the recipients that .sops.yaml names for it, and for the host, which is added where
the rule lacks it. To a FILE that exists, the secrets are added, and nothing else of
it is changed; what it has already is replaced with --replace only.

The sops program does the encryption. The secrets are never written to disk
unencrypted, and FILE is written as a whole, as the last step.

It prints the line for known_hosts, a NixOS module that uses the secrets, and how
the key file is added to the device.`,
		Example: `  # on an administrator's machine, in the repository of the configuration
  ssh-keyscan -t ed25519 server01 > server01.pub
  sops-initrd bootstrap --host-key server01.pub --luks root secrets/srv01.yaml

  # on the host itself
  sops-initrd bootstrap --name server01.example.org secrets/initrd.yaml`,
		Args: operand("sops file"),
		RunE: func(c *cobra.Command, args []string) error {
			r.File = args[0]
			if err := r.Check(); err != nil {
				return cli.WithHint(cli.Usage(err), seeHelp(c))
			}
			res, err := bootstrap.Run(c.Context(), r)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(e.Stdout, res)
			}
			cli.Tell(e, program, bootstrapText(res))
			return nil
		},
	}
	c.Flags().StringVar(&r.HostKey, "host-key", bootstrap.DefaultHostKey,
		"public SSH `key` of the host: a file (also what ssh-keyscan prints), the line itself, an "+
			"age recipient "+
			"or an OpenPGP fingerprint")
	c.Flags().StringVar(&r.Name, "name", "", "`name` of the host for ssh (default: that of FILE "+
		"without its extension)")
	c.Flags().IntVar(&r.Port, "port", 2222, "`port` of the SSH server in the initrd; "+
		"another one than the host's keeps their keys apart")
	c.Flags().BoolVar(&r.Replace, "replace", false, "replace secrets that FILE has already")
	c.Flags().StringVar(&r.LUKS, "luks", "", "make a key file as well, for this `device` of "+
		"boot.initrd.luks.devices")
	jsonFlag(c, &asJSON)
	required(c, "host-key")
	return c
}

func bootstrapText(res *bootstrap.Result) string {
	var recipients strings.Builder
	for _, r := range res.Recipients {
		recipients.WriteString("  " + r.Type + " " + r.ID + "\n")
	}
	text := fmt.Sprintf("%s: encrypted for\n%s\nknown_hosts of whoever logs in "+
		"(%s):\n\n%s\n\nmodule of the host:\n\n%s",
		res.File, recipients.String(), res.Fingerprint, res.KnownHosts, res.Nix)
	if res.Enroll != "" {
		text += "\nthen, on the host, add the key file to the device:\n\n" + res.Enroll + "\n"
	}
	return text
}
