package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

func statusCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var boots []string
	var variables string
	var asJSON, asMetrics, clean bool
	c := &cobra.Command{
		Use:   "status [--boot DIRECTORY]…",
		Short: "Show what this host would boot, and with which secrets",
		Long: `status reads the menus of systemd-boot, lanzaboote and unified kernel images, GRUB, limine, extlinux, rEFInd, a Raspberry Pi's firmware
and EFI shell scripts in the boot directory, the boot entries of the firmware, and lists of other loaders (see install-loader). For each entry it says whether its initrd has the secrets of its system: "whole" (and compared with the system's
manifest, without any key), "stale", "missing", "damaged", "unknown" version, "not wanted", or "gone" when the system is not in
the store any more. It also lists files with secrets that no entry loads.

The exit status is 1 when something that can be booted lacks its secrets.`,
		Example: `  sops-initrd status
  sops-initrd status --boot /efi --json
  sops-initrd status --prometheus > /var/lib/node-exporter/sops-initrd.prom
  sops-initrd status --clean`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.WithHint(cli.Usage(fmt.Errorf("%s: no operand expected, got %q", c.Name(), args)), seeHelp(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON && asMetrics {
				return cli.Usage(errors.New("status: --json and --prometheus exclude each other"))
			}
			if err := checkBoots(c, boots); err != nil {
				return err
			}
			s, err := bootloader.Look(c.Context(), boots, variables, *o)
			if err != nil {
				return err
			}
			if clean {
				err = s.Clean()
			}
			switch {
			case asJSON:
				err = errors.Join(err, printJSON(e.Stdout, s))
			case asMetrics:
				err = errors.Join(err, printMetrics(e.Stdout, s))
			default:
				err = errors.Join(err, printStatus(e.Stdout, s))
			}
			if err == nil && s.Lacks() {
				return cli.ErrFailed
			}
			return err
		},
	}
	bootFlag(c, &boots)
	variablesFlag(c, &variables)
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&asMetrics, "prometheus", false, "print metrics for the textfile collector of Prometheus' node exporter")
	c.Flags().BoolVar(&clean, "clean", false, "remove files with secrets that no entry loads")
	return c
}

func printStatus(w io.Writer, s *bootloader.Status) error {
	var rows, notes []byte
	for _, e := range s.Entries {
		rows = fmt.Appendf(rows, "%s\t%s\t%s\t%s\t%s\n", e.Loader, e.Title, stateText(e), e.Image, e.System)
		if e.Problem != "" {
			notes = fmt.Appendf(notes, "%s: could not be compared: %s\n", e.Title, e.Problem)
		}
	}
	for _, odd := range s.Odd {
		notes = fmt.Appendf(notes, "%s: could not be read: %s\n", odd.File, odd.Problem)
	}
	for _, name := range s.Leftovers {
		notes = fmt.Appendf(notes, "%s: has secrets, but no entry loads it (--clean removes it)\n", name)
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	_, err := w.Write(notes)
	return err
}

func stateText(e bootloader.EntryStatus) string {
	text := string(e.State)
	if e.State == initrdsecrets.Whole && !e.Compared {
		text += ", not compared"
	}
	if e.Readable {
		text += ", readable by others"
	}
	return text
}

// printMetrics writes the text format of Prometheus. Labels say what and where, never a value.
func printMetrics(w io.Writer, s *bootloader.Status) error {
	var b strings.Builder
	b.WriteString("# HELP sops_initrd_entry_lacks_secrets Whether a boot entry would not find the initrd secrets of its system.\n# TYPE sops_initrd_entry_lacks_secrets gauge\n")
	for i, e := range s.Entries {
		fmt.Fprintf(&b, "sops_initrd_entry_lacks_secrets{%s,state=%s} %d\n", labels(i, e), label(string(e.State)), number(e.Lacks))
	}
	b.WriteString("# HELP sops_initrd_entry_readable Whether other users of the host can read the initrd secrets of a boot entry.\n# TYPE sops_initrd_entry_readable gauge\n")
	for i, e := range s.Entries {
		fmt.Fprintf(&b, "sops_initrd_entry_readable{%s} %d\n", labels(i, e), number(e.Readable))
	}
	fmt.Fprintf(&b, "# HELP sops_initrd_leftover_files Files with initrd secrets that no boot entry loads.\n# TYPE sops_initrd_leftover_files gauge\nsops_initrd_leftover_files %d\n", len(s.Leftovers))
	_, err := io.WriteString(w, b.String())
	return err
}

// labels are those of an entry; its place in the list keeps entries with equal titles apart.
func labels(i int, e bootloader.EntryStatus) string {
	return fmt.Sprintf(`entry="%d",loader=%s,title=%s,system=%s`, i, label(string(e.Loader)), label(e.Title), label(e.System))
}

// label quotes as the text format wants it.
func label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
