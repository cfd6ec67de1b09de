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
	Images []planned `json:"images"`
}

type planned struct {
	Image string `json:"image"`
	initrd.Result
	Salvaged bool `json:"salvaged"`
	// there is no key yet, and --when-no-key=skip
	Skipped bool                        `json:"skipped"`
	Entries []initrdsecrets.EntryReport `json:"entries"`
}

func planCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest string
	var asJSON bool
	var r running
	c := &cobra.Command{
		Use:   "plan [--manifest MANIFEST] [--base PRISTINE] [IMAGE…]",
		Short: "Say what append would change, and write nothing",
		Long: `plan makes all the decisions of append, decryption included, and says what would
come of them: how each IMAGE would change and which entries it would have. It writes
nothing and prints no value. What would make append fail makes plan fail.

Without MANIFEST, that of the running system is meant, and without IMAGE, what its
boot entries load.`,
		Example: `  sops-initrd plan
  sops-initrd plan --manifest m.json /boot/EFI/nixos/…-initrd.efi
  sops-initrd plan --manifest m.json --json /boot/secrets.img`,
		Args: operands("image"),
		RunE: func(c *cobra.Command, args []string) error {
			options := *o
			if manifest == "" {
				var err error
				if manifest, err = r.manifest(); err != nil {
					return err
				}
				if options.Base == "" {
					options.Base = r.base()
				}
			}
			report := planReport{[]planned{}}
			err := r.each(c.Context(), args, func(image string) error {
				options := options
				if i, err := initrd.Open(image); err == nil {
					if i.Enclosed() && len(args) == 0 { // as limine loads it
						options.Base, options.Enclose = "", true
					}
					if err := i.Close(); err != nil {
						return err
					}
				}
				out, err := initrdsecrets.Plan(c.Context(), manifest, image, options)
				if err != nil {
					return err
				}
				if asJSON {
					report.Images = append(report.Images, planned{
						image, out.Result, out.Salvaged, out.Skipped,
						out.Entries,
					})
					return nil
				}
				return errors.Join(printLine(e.Stdout, sentence(image, out, true)), printEntries(e.Stdout,
					out.Entries))
			})
			if asJSON && len(report.Images) > 0 {
				err = errors.Join(err, printJSON(e.Stdout, report))
			}
			return err
		},
	}
	manifestFlag(c, &manifest)
	applyFlags(c, o)
	c.Flags().StringVar(&o.State, "state", record.DefaultDir,
		"`directory` of the records of what this host installed")
	jsonFlag(c, &asJSON)
	r.flags(c, true)
	required(c, "state")
	return c
}

// sentence says what happened to an image, or would happen.
func sentence(image string, o *initrdsecrets.Report, would bool) string {
	secrets := count(len(o.Entries), "secret", "secrets")
	verb := map[initrd.Action][2]string{
		initrd.Unchanged: {},
		initrd.Created:   {"add", "added"},
		initrd.Appended:  {"add", "added"},
		initrd.Replaced:  {"update", "updated"},
		initrd.Repaired:  {"repair", "repaired"},
		initrd.Removed:   {"remove", "removed"},
	}[o.Action]
	size := o.Length
	if o.Action == initrd.Removed {
		secrets, size = "secrets", o.Cut
	}
	text := fmt.Sprintf("%s: %s %s (%s)", image, secrets, verb[1], bytesText(size))
	switch {
	case o.Action == initrd.Unchanged:
		return image + ": unchanged"
	case would:
		text = fmt.Sprintf("%s: would %s %s (%s)", image, verb[0], secrets, bytesText(size))
	}
	if o.InPlace {
		text += ", in place"
	}
	if o.Salvaged {
		text += ", kept from an earlier installation"
	}
	return text
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	const thousand = 1000
	units := []string{"B", "kB", "MB", "GB"}
	value, unit := float64(n), 0
	for value >= thousand && unit < len(units)-1 {
		value, unit = value/thousand, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
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
