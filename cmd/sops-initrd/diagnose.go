package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

func diagnoseCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest string
	var asJSON bool
	var r running
	c := &cobra.Command{
		Use:   "diagnose [--manifest MANIFEST] [FILE]",
		Short: "Say why this host can, or cannot, decrypt",
		Long: `diagnose decrypts, and says for each sops file for whom it is encrypted and what
came of each of these recipients, which keys this host has and where, which sources
of keys are skipped and why, and what to do. It prints public halves of keys only,
and no value.

With --manifest it looks at all files of MANIFEST (of the initrd or of activation)
with its sources of keys. FILE is one sops file, opened with the sources of MANIFEST
if one is given, else with the keys a NixOS host has by default:
/etc/ssh/ssh_host_ed25519_key, /etc/ssh/ssh_host_rsa_key, /var/lib/sops-nix/key.txt.
Variables that sops knows, such as SOPS_AGE_KEY_FILE, count as well. With neither,
the initrd manifest of the running system is meant.

The exit status is 1 when something cannot be decrypted.`,
		Example: `  sops-initrd diagnose
  sops-initrd diagnose secrets.yaml
  sops-initrd diagnose --json --manifest m.json secrets.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return operand("sops file")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			} else if manifest == "" {
				var err error
				if manifest, err = r.manifest(); err != nil {
					return err
				}
			}
			d, err := initrdsecrets.Diagnose(c.Context(), manifest, file, *o)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(e.Stdout, d)
			} else {
				err = d.Text(e.Stdout)
			}
			if err != nil {
				return fmt.Errorf("print the diagnosis: %w", err)
			}
			if !d.OK() {
				return cli.ErrFailed
			}
			return nil
		},
	}
	manifestFlag(c, &manifest)
	jsonFlag(c, &asJSON)
	timeoutFlag(c, o)
	r.flags(c, false)
	return c
}
