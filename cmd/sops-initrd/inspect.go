package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// inspectReport is what inspect prints with --json.
type inspectReport struct {
	Image    string `json:"image"`
	Enclosed bool   `json:"enclosed"` // in a zstd frame, of which the layout shows the inside
	*initrd.Layout
}

func inspectCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show the parts of an image and the names of its secrets",
		Long: `inspect walks the whole of IMAGE and shows its parts: compressed and plain archives, padding, damage, and the segment that
append put there with the names, sizes, owners and modes of its entries. It never shows contents.`,
		Example: `  sops-initrd inspect /boot/EFI/nixos/…-initrd.efi
  sops-initrd inspect --json /boot/secrets.img`,
		Args: operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			image, err := initrd.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = image.Close() }() // only read from
			layout, err := image.Layout(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(e.Stdout, inspectReport{args[0], image.Enclosed(), layout})
			}
			return printLayout(e.Stdout, args[0], image.Enclosed(), layout)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printLayout(w io.Writer, image string, enclosed bool, l *initrd.Layout) error {
	inside := ""
	if enclosed {
		inside = " in a zstd frame"
	}
	rows := fmt.Appendf(nil, "%s: %d bytes%s\n", image, l.Size, inside)
	for _, p := range l.Parts {
		rows = fmt.Appendf(rows, "  %d\t%d\t%s\t%s\n", p.Offset, p.Size, p.Kind, partNotes(p))
		for _, f := range p.Files {
			rows = fmt.Appendf(rows, "  \t\t  %s\t%d:%d\t%d\t%s\n", f.Mode, f.UID, f.GID, f.Size, f.Path)
		}
	}
	return printTable(w, rows)
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

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
