package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
)

// planReport is what plan prints with --json.
type planReport struct {
	Image string `json:"image"`
	initrd.Result
	Salvaged bool                        `json:"salvaged"`
	Entries  []initrdsecrets.EntryReport `json:"entries"`
}

func planCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan --manifest MANIFEST [--base PRISTINE] IMAGE",
		Short: "Say what append would change, and write nothing",
		Long: `plan makes all the decisions of append, decryption included, and says what would come of them: how IMAGE would change and
which entries it would have. It writes nothing and prints no value. What would make append fail makes plan fail.`,
		Example: `  sops-initrd plan --manifest manifest-initrd.json /boot/EFI/nixos/…-initrd.efi
  sops-initrd plan --manifest manifest-initrd.json --json /boot/secrets.img`,
		Args: operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			out, err := initrdsecrets.Plan(c.Context(), manifest, args[0], *o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(e.Stdout, planReport{args[0], out.Result, out.Salvaged, out.Entries})
			}
			return errors.Join(printLine(e.Stdout, sentence(args[0], out, "would be")), printEntries(e.Stdout, out.Entries))
		},
	}
	manifestFlag(c, &manifest)
	applyFlags(c, o)
	c.Flags().StringVar(&o.State, "state", record.DefaultDir, "`directory` of the records of what this host installed")
	jsonFlag(c, &asJSON)
	required(c, "manifest", "state")
	return c
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print the result as JSON")
}

// sentence says what happened to an image ("was"), or would ("would be").
func sentence(image string, o *initrdsecrets.Report, was string) string {
	text := fmt.Sprintf("%s: %s %s", image, was, o.Action)
	if o.Action == initrd.Unchanged {
		return image + ": unchanged"
	}
	if o.Action == initrd.Removed {
		return text + fmt.Sprintf(": the manifest has no entries, %d bytes of secrets go", o.Cut)
	}
	text += fmt.Sprintf(": %s, %d bytes of %d", count(len(o.Entries), "entry", "entries"), o.Length, o.Size)
	if o.InPlace {
		text += ", in place"
	}
	if o.Salvaged {
		text += ", from an earlier installation"
	}
	return text
}

func printLine(w io.Writer, text string) error {
	_, err := fmt.Fprintln(w, text)
	return err
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printEntries(w io.Writer, entries []initrdsecrets.EntryReport) error {
	var rows []byte
	for _, e := range entries {
		rows = fmt.Appendf(rows, "  %s\t%d:%d\t%s\t%s\n", e.Mode, e.UID, e.GID, e.Path, e.From)
	}
	return printTable(w, rows)
}
