package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// verifyReport is what verify prints with --json.
type verifyReport struct {
	OK     bool       `json:"ok"`
	Images []verified `json:"images"`
}

type verified struct {
	Image string              `json:"image"`
	OK    bool                `json:"ok"`
	State initrdsecrets.State `json:"state"`
}

func verifyCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest string
	var asJSON bool
	var r running
	c := &cobra.Command{
		Use:   "verify [--manifest MANIFEST] [--base PRISTINE] [IMAGE…]",
		Short: "Check that an image has complete, up-to-date secrets",
		Long: `verify answers by its exit status, and in words on standard output: 0 when every
IMAGE ends in a whole segment of secrets, 1 when one does not. With --manifest the
segment must also be the one of MANIFEST as its sops files are now; that is found
out without decrypting anything, so no key is needed. A manifest without entries
wants no segment. With --base, what stands before the segment must be PRISTINE, byte
for byte.

Without IMAGE, the images that the boot entries of the running system load are
compared with its manifest.`,
		Example: `  sops-initrd verify
  sops-initrd verify /boot/EFI/nixos/…-initrd.efi
  sops-initrd verify --manifest m.json /boot/secrets.img || nixos-rebuild boot`,
		Args: operands("image"),
		RunE: func(c *cobra.Command, args []string) error {
			if manifest == "" && len(args) == 0 {
				var err error
				if manifest, err = r.manifest(); err != nil {
					return err
				}
			}
			report := verifyReport{true, []verified{}}
			err := r.each(c.Context(), args, func(image string) error {
				state, wanted, err := initrdsecrets.Verify(c.Context(), manifest, image, *o)
				if err != nil {
					return err
				}
				v := verified{image, state.Fine(wanted), state}
				report.OK, report.Images = report.OK && v.OK, append(report.Images, v)
				if !asJSON {
					err = printLine(e.Stdout, image+": "+answer(state, manifest, o.Base, wanted))
				}
				return err
			})
			if asJSON && len(report.Images) > 0 {
				report.OK = report.OK && err == nil
				err = errors.Join(err, printJSON(e.Stdout, report))
			}
			if err == nil && !report.OK {
				return cli.ErrFailed
			}
			return err
		},
	}
	manifestFlag(c, &manifest)
	baseFlag(c, &o.Base)
	jsonFlag(c, &asJSON)
	tpmFlag(c, &o.TPM)
	r.flags(c, true)
	return c
}

func answer(s initrdsecrets.State, manifest, base string, wanted bool) string {
	switch s {
	case initrdsecrets.Whole:
		if manifest == "" {
			return "whole"
		}
		return "whole, up to date with " + manifest
	case initrdsecrets.Missing:
		if !wanted {
			return "no secrets, as " + manifest + " wants"
		}
		return "no secrets from sops-initrd"
	case initrdsecrets.Damaged:
		return "its secrets are damaged"
	case initrdsecrets.Unknown:
		return "its secrets were made by a newer version of this program"
	case initrdsecrets.Surplus:
		return "has secrets, but " + manifest + " wants none"
	case initrdsecrets.OtherBase:
		return "what stands before its secrets is not " + base
	case initrdsecrets.Stale:
	}
	return "out of date: its secrets were made from other sops files or files of this host than " +
		manifest + " names now"
}
