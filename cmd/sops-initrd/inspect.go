package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sops-initrd/initrd"
	"sops-initrd/internal/cli"
	"sops-initrd/internal/hook"
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
		Short: "Show what an image consists of and which entries of ours it has",
		Long: `inspect walks the whole of IMAGE and shows its parts: compressed and plain archives, padding, damage, and the segment that
append put there with the names, sizes, owners and modes of its entries. It never shows contents.`,
		Example: `  sops-initrd inspect /boot/EFI/nixos/…-initrd.efi
  sops-initrd inspect --json /boot/secrets.img`,
		Args: operand("image"),
		RunE: func(_ *cobra.Command, args []string) error {
			image, err := hook.OpenImage(args[0])
			if err != nil {
				return err
			}
			defer image.Close()
			layout, err := initrd.Inspect(image, image.Size)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(e.Stdout, inspectReport{args[0], image.Enclosed, layout})
			}
			return printLayout(e.Stdout, args[0], image.Enclosed, layout)
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
	fmt.Fprintf(w, "%s: %d bytes%s\n", image, l.Size, inside)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, p := range l.Parts {
		fmt.Fprintf(t, "  %d\t%d\t%s\t%s\n", p.Offset, p.Size, p.Kind, partNotes(p))
		for _, f := range p.Files {
			fmt.Fprintf(t, "  \t\t  %s\t%d:%d\t%d\t%s\n", modeText(f.Mode), f.UID, f.GID, f.Size, f.Path)
		}
	}
	return t.Flush()
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

func modeText(m fs.FileMode) string { return m.String() }

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
