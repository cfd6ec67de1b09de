package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// verifyReport is what verify prints with --json.
type verifyReport struct {
	Image string              `json:"image"`
	OK    bool                `json:"ok"`
	State initrdsecrets.State `json:"state"`
}

func verifyCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [--manifest MANIFEST] IMAGE",
		Short: "Check that an image has complete, up-to-date secrets",
		Long: `verify answers by its exit status, and in words on standard output: 0 when IMAGE ends in a whole segment of secrets, 1 when it
does not. With --manifest the segment must also be the one of MANIFEST as its sops files are now; that is found out without
decrypting anything, so no key is needed. A manifest without entries wants no segment.`,
		Example: `  sops-initrd verify /boot/EFI/nixos/…-initrd.efi
  sops-initrd verify --manifest m.json /boot/secrets.img || nixos-rebuild boot`,
		Args: operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			state, wanted, err := initrdsecrets.Verify(c.Context(), manifest, args[0], *o)
			if err != nil {
				return err
			}
			fine := state.Fine(wanted)
			if asJSON {
				err = printJSON(e.Stdout, verifyReport{args[0], fine, state})
			} else {
				_, err = fmt.Fprintf(e.Stdout, "%s: %s\n", args[0], answer(state, manifest, wanted))
			}
			if err == nil && !fine {
				return cli.ErrFailed
			}
			return err
		},
	}
	manifestFlag(c, &manifest)
	jsonFlag(c, &asJSON)
	tpmFlag(c, &o.TPM)
	return c
}

func answer(s initrdsecrets.State, manifest string, wanted bool) string {
	switch s {
	case initrdsecrets.Whole:
		if manifest == "" {
			return "whole"
		}
		return "whole, and that of " + manifest
	case initrdsecrets.Missing:
		if !wanted {
			return "no secrets, as " + manifest + " wants"
		}
		return "no secrets of ours at its end"
	case initrdsecrets.Damaged:
		return "the secrets are damaged"
	case initrdsecrets.Unknown:
		return "the secrets have a version that this program does not know"
	case initrdsecrets.Surplus:
		return "has secrets, but " + manifest + " wants none"
	default:
		return "stale: made of other inputs than " + manifest + " has now"
	}
}
