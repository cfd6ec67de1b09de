package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

func removeCommand(e cli.Env) *cobra.Command {
	var o initrd.Options
	c := &cobra.Command{
		Use:   "remove IMAGE",
		Short: "Cut the secrets from an image",
		Long: `remove takes away what append put into IMAGE and gives back, byte for byte, what was
there before. An image without secrets from sops-initrd is left alone, which is not
an error.`,
		Example: `  sops-initrd remove /boot/EFI/nixos/…-initrd.efi`,
		Args:    operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := initrdsecrets.OpenImage(args[0])
			if err == nil {
				err = i.Close()
			}
			if err != nil {
				return err // a missing image is a mistyped one
			}
			result, err := initrd.Remove(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			hooks := hookOptions(e)
			for _, w := range result.Warnings {
				hooks.Warn(w.Text, w.Hint)
			}
			if result.Action != initrd.Unchanged {
				cli.Tell(e, program, fmt.Sprintf("%s: secrets removed (%s)\n", args[0], bytesText(result.Cut)))
			}
			return nil
		},
	}
	baseFlag(c, &o.Base)
	c.Flags().BoolVar(&o.AllowInPlace, "allow-in-place", false,
		"truncate IMAGE when there is no room for a second copy")
	return c
}
