package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/seal"
)

func enrollCommand(e cli.Env) *cobra.Command {
	var device string
	format := string(seal.TPM2)
	c := &cobra.Command{
		Use:   "enroll [--format tpm2|tpm2-srk]",
		Short: "Print the public key to seal secrets for this machine elsewhere",
		Long: `enroll prints the public half of the key below which this machine's TPM seals. With it, another
machine can seal the secrets of an initrd for this one before this one has ever booted it: set
sops.initrd.seal.parent, or give it to "sops-initrd append --seal-for".

The key is no secret. It changes when the TPM is cleared or replaced.

tpm2 is for an initrd with systemd 255 to 261, tpm2-srk for 262 and newer.`,
		Example: `  # on the machine to be installed, from any live system
  sops-initrd enroll --format tpm2-srk >server01.tpm`,
		Args: noOperand,
		RunE: func(c *cobra.Command, _ []string) error {
			f := seal.Format(format)
			if !f.Sealed() {
				return cli.Usage(fmt.Errorf("enroll: --format %s: want %s or %s", format, seal.TPM2, seal.TPM2SRK))
			}
			tpm, err := seal.Dial(c.Context(), device)
			if err != nil {
				return err
			}
			defer func() { _ = tpm.Close() }()
			key, err := tpm.PublicKey(f)
			if err != nil {
				return err
			}
			cli.Tell(e, program, key.String()+"\n")
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", format, "`format` of credentials that the systemd in the initrd reads")
	tpmFlag(c, &device)
	return c
}

func tpmFlag(c *cobra.Command, device *string) {
	c.Flags().StringVar(device, "tpm", "", "TPM `device`, or swtpm:host=HOST,port=PORT (default "+seal.DefaultDevice+")")
}
