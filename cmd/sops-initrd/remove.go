package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
)

func removeCommand(e cli.Env) *cobra.Command {
	var o initrd.Options
	c := &cobra.Command{
		Use:   "remove IMAGE",
		Short: "Cut the secrets from an image",
		Long: `remove takes away what append put into IMAGE and gives back, byte for byte, what was there before. An image without secrets
of ours is left alone, which is not an error.`,
		Example: `  sops-initrd remove /boot/EFI/nixos/…-initrd.efi`,
		Args:    operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			result, err := initrd.Remove(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			hooks := hookOptions(e)
			for _, w := range result.Warnings {
				hooks.Warn(w.Text, w.Hint)
			}
			if result.Action != initrd.Unchanged {
				cli.Tell(e, program, fmt.Sprintf("%s: was %s: %d bytes of secrets are gone\n", args[0], result.Action, result.Cut))
			}
			return nil
		},
	}
	c.Flags().StringVarP(&o.Base, "base", "b", "", "pristine `initrd` that IMAGE was made from")
	c.Flags().BoolVar(&o.AllowInPlace, "allow-in-place", false, "truncate IMAGE when there is no room for a second copy")
	return c
}
