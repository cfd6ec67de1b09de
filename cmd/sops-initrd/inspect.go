package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// inspectReport is what inspect prints with --json.
type inspectReport struct {
	Images []inspected `json:"images"`
}

type inspected struct {
	Image    string `json:"image"`
	Enclosed bool   `json:"enclosed"` // in a zstd frame, of which the layout shows the inside
	*initrd.Layout
	// Credentials are those of the segment that are encrypted, as they are for a TPM.
	Credentials []initrdsecrets.Credential `json:"credentials"`
}

func inspectCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	var r running
	c := &cobra.Command{
		Use:   "inspect [IMAGE…]",
		Short: "Show the parts of an image and the names of its secrets",
		Long: `inspect walks the whole of each IMAGE and shows its parts: compressed and plain
archives, padding, damage, and the segment that append put there with the names,
sizes, owners and modes of its entries, and which of them are credentials sealed to
a TPM. It never shows contents, and asks no TPM. Without IMAGE it
looks at what the boot entries of the running system load.`,
		Example: `  sops-initrd inspect
  sops-initrd inspect /boot/EFI/nixos/…-initrd.efi
  sops-initrd inspect --json /boot/secrets.img`,
		Args: operands("image"),
		RunE: func(c *cobra.Command, args []string) error {
			report := inspectReport{[]inspected{}}
			err := r.each(c.Context(), args, func(name string) error {
				image, err := initrdsecrets.OpenImage(name)
				if err != nil {
					return err
				}
				defer func() { _ = image.Close() }() // only read from
				layout, err := image.Layout(c.Context())
				if err != nil {
					return err
				}
				credentials, err := initrdsecrets.Credentials(c.Context(), image)
				if err != nil {
					return err
				}
				report.Images = append(report.Images, inspected{name, image.Enclosed(), layout, credentials})
				return nil
			})
			if asJSON && len(report.Images) > 0 {
				return errors.Join(err, printJSON(e.Stdout, report))
			}
			for _, i := range report.Images {
				err = errors.Join(err, printLayout(e.Stdout, i))
			}
			return err
		},
	}
	jsonFlag(c, &asJSON)
	r.flags(c, true)
	return c
}

func printLayout(w io.Writer, i inspected) error {
	inside := ""
	if i.Enclosed {
		inside = " in a zstd frame"
	}
	rows := fmt.Appendf(nil, "%s: %d bytes%s\n", i.Image, i.Size, inside)
	for _, p := range i.Parts {
		rows = fmt.Appendf(rows, "  %d\t%d\t%s\t%s\n", p.Offset, p.Size, p.Kind, partNotes(p))
		for _, f := range p.Files {
			rows = fmt.Appendf(rows, "  \t\t  %s\t%d:%d\t%d\t%s%s\n", f.Mode, f.UID, f.GID, f.Size, f.Path,
				i.protection(f.Path))
		}
	}
	return printTable(w, rows)
}

// protection says how the credential at a path is encrypted, "" of all other entries.
func (i inspected) protection(path string) string {
	at := slices.IndexFunc(i.Credentials, func(c initrdsecrets.Credential) bool { return c.Path == path })
	if at < 0 {
		return ""
	}
	c := i.Credentials[at]
	switch {
	case !c.Sealed:
		return " (encrypted with a key that all know)"
	case len(c.PCRs) == 0:
		return fmt.Sprintf(" (sealed, format %s)", c.Format)
	}
	return fmt.Sprintf(" (sealed, format %s, PCRs %s)", c.Format, strings.Trim(fmt.Sprint(c.PCRs), "[]"))
}

func partNotes(p initrd.Part) string {
	switch {
	case p.Problem != "":
		return p.Problem
	case p.Segment != nil && !p.Segment.Whole:
		return fmt.Sprintf("secrets, version %d, not whole", p.Segment.Version)
	case p.Segment != nil:
		return fmt.Sprintf("secrets, version %d, whole", p.Segment.Version)
	case p.Microcode:
		return "microcode"
	case p.Entries > 0:
		return count(p.Entries, "entry", "entries")
	}
	return ""
}

// printTable prints lines whose cells end in tabs.
func printTable(w io.Writer, rows []byte) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if _, err := t.Write(rows); err != nil {
		return err
	}
	return t.Flush()
}
