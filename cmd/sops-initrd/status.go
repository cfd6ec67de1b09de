package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// statusFlags are what status prints, and where to.
type statusFlags struct {
	json, long, clean bool
	metrics           string
}

func statusCommand(e cli.Env) *cobra.Command {
	var o bootloader.LookOptions
	var f statusFlags
	var tpm string
	c := &cobra.Command{
		Use:   "status [--boot DIRECTORY]…",
		Short: "Check that every boot entry has its secrets",
		Long: `status reads the menus of systemd-boot, lanzaboote and unified kernel images,
GRUB, limine, extlinux, rEFInd, the firmware of Raspberry Pis and EFI shell
scripts in the boot directory, the boot entries of the firmware, and lists of
other loaders (see install-loader). For each entry it compares the initrd with
the manifest of the system that it boots. It needs no key.

An entry is:
  whole            it has the secrets of its system, complete
  stale            a secret or file was changed since it was installed
  does not open    it has them sealed, and the TPM of this machine refuses them
  damaged          its secrets were changed or cut
  unknown version  its secrets were made by a newer program
  extra            it has secrets that its system no longer needs
  none needed      its system has no initrd secrets
  no file          its initrd is not there
  cut short        its initrd is shorter than without secrets
  no secrets       its initrd has no secrets
  not provisioned  as well, and no key of this machine is there yet
  other base       its initrd is not that of its system (with --deep)
  gone             its system is not in the store any more

"not compared" means that only completeness is known: the system has another
program for its initrd secrets, or its manifest cannot be read (see --long).
"sealed" means that only a TPM opens the secrets; status has it open one credential
of each entry now, as the next boot will, and reads how near the TPM is to lockout.
"not tried" means that the TPM could not be asked (see --long).

For unified kernel images, signed or not, status compares the initrd inside;
nothing can be added to it afterwards.

status also lists files with secrets that no entry loads, and temporary files
of runs that were killed. The exit status is 1 when anything that can be booted
lacks its secrets, and when there is no boot entry at all.`,
		Example: `  sops-initrd status
  sops-initrd status --boot /efi --json
  sops-initrd status --prometheus /var/lib/node-exporter/sops-initrd.prom
  sops-initrd status --clean`,
		Args: noOperand,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkBoots(c, o.Boots); err != nil {
				return err
			}
			o.Hook = *hookOptions(e)
			o.Hook.TPM = tpm
			s, err := bootloader.Look(c.Context(), o)
			if err != nil {
				return errors.Join(err, failedStatus(e, f, err))
			}
			if f.clean {
				err = s.Clean()
			}
			err = errors.Join(err, f.report(e.Stdout, s))
			if err == nil && !s.OK {
				return cli.ErrFailed
			}
			return err
		},
	}
	bootFlag(c, &o.Boots)
	variablesFlag(c, &o.Variables)
	tpmFlag(c, &tpm)
	jsonFlag(c, &f.json)
	flags := c.Flags()
	flags.BoolVar(&o.Deep, "deep", false, "compare each image with the initrd of its system as well")
	flags.BoolVarP(&f.long, "long", "l", false, "print image, system and problems of each entry")
	flags.StringVar(&f.metrics, "prometheus", "",
		"write metrics to `FILE` for Prometheus' node exporter (- is stdout)")
	flags.BoolVar(&f.clean, "clean", false, "remove files with secrets that no entry loads")
	return c
}

// report prints a status in all forms that were asked for.
func (f statusFlags) report(w io.Writer, s *bootloader.Status) error {
	switch err := f.writeMetrics(w, s); {
	case err != nil:
		return err
	case f.json:
		return printJSON(w, s)
	case f.metrics == "-":
		return nil
	}
	_, err := io.WriteString(w, statusText(s, f.long))
	return err
}

// failedStatus tells programs that there is no status; people are told by the error.
func failedStatus(e cli.Env, f statusFlags, cause error) error {
	s := bootloader.Failed(cause)
	err := f.writeMetrics(e.Stdout, s)
	if f.json {
		err = errors.Join(err, printJSON(e.Stdout, s))
	}
	return err
}

func (f statusFlags) writeMetrics(w io.Writer, s *bootloader.Status) error {
	switch f.metrics {
	case "":
		return nil
	case "-":
		_, err := io.WriteString(w, metrics(s, time.Now()))
		return err
	}
	const readable = 0o644 // by the exporter, and there is no secret in it
	err := atomicfile.WriteFile(atomicfile.OS(), f.metrics, []byte(metrics(s, time.Now())),
		atomicfile.Attr{Mode: readable, UID: -1, GID: -1})
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// group is what one boot directory and loader have.
type group struct {
	boot    string
	loader  bootloader.Kind
	entries []bootloader.EntryStatus
}

func groups(s *bootloader.Status) (all []group) {
	for _, e := range s.Entries {
		last := len(all) - 1
		if last < 0 || all[last].boot != e.Boot || all[last].loader != e.Loader {
			all = append(all, group{boot: e.Boot, loader: e.Loader})
			last++
		}
		all[last].entries = append(all[last].entries, e)
	}
	return all
}

// statusText is a status for people, in 80 columns unless it is long.
func statusText(s *bootloader.Status, long bool) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(cli.Visible(fmt.Sprintf(format, args...)) + "\n")
	}
	var repairs []string
	for _, g := range groups(s) {
		line("%s, %s: %s", g.boot, g.loader, summary(g.entries))
		line("  %-15s  entry (* boots by default)", "state")
		for _, e := range g.entries {
			line("%s", row(e))
			repair := e.Repair()
			if e.State == bootloader.Sealed && s.Lockout != nil && s.Lockout.Locked {
				repair = "wait until the TPM forgets its failures, or tpm2_dictionarylockout -c"
			}
			if e.Lacks && !slices.Contains(repairs, repair) {
				repairs = append(repairs, repair)
			}
			if !long {
				continue
			}
			line("      image   %s", e.Image)
			line("      system  %s", e.System)
			if e.Problem != "" {
				line("      problem %s", e.Problem)
			}
			if e.Sealed {
				line("      sealed  %s", opening(e))
			}
		}
	}
	for _, u := range s.Unreadable {
		line("Could not read %s: %s", u.File, u.Problem)
	}
	for _, name := range s.Leftovers {
		line("No entry loads %s, which has secrets", name)
	}
	for _, name := range s.Temporary {
		line("A run that was killed left %s", name)
	}
	for _, name := range s.Removed {
		line("Removed %s", name)
	}
	if long && s.Next != "" {
		line("The firmware starts next: %s", s.Next)
	}
	if l := s.Lockout; l != nil && (long || l.Near) {
		line("The TPM has counted %d failures and refuses at %d%s", l.Failures, l.Max, lockedNow(l))
	}
	for _, r := range repairs {
		line("To repair: %s", r)
	}
	if len(s.Leftovers)+len(s.Temporary) > 0 {
		line("To remove what is not needed: sops-initrd status --clean")
	}
	return b.String()
}

// opening says of a sealed entry what the TPM said.
func opening(e bootloader.EntryStatus) string {
	switch e.Opens {
	case initrdsecrets.OpensNow:
		return "the TPM opens it now"
	case initrdsecrets.DoesNotOpen:
		return "does not open: " + e.Refusal
	case initrdsecrets.OpensUnknown, initrdsecrets.NotSealed:
	}
	return "not tried: " + e.Refusal
}

func lockedNow(l *bootloader.Lockout) string {
	if l.Locked {
		return ": it is in lockout now"
	}
	return ""
}

func summary(entries []bootloader.EntryStatus) string {
	var lacking, needing int
	for _, e := range entries {
		if e.Lacks {
			lacking++
		}
		if e.State != bootloader.NoneNeeded && e.State != bootloader.Gone {
			needing++
		}
	}
	switch {
	case needing == 0:
		return "no entry needs secrets"
	case lacking == 0:
		return fmt.Sprintf("all entries that need secrets have theirs (%d of %d)", needing, len(entries))
	case lacking == 1:
		return fmt.Sprintf("1 of %s lacks its secrets", count(len(entries), "entry", "entries"))
	}
	return fmt.Sprintf("%d of %d entries lack their secrets", lacking, len(entries))
}

// row is one entry in 80 columns.
func row(e bootloader.EntryStatus) string {
	const width = 80 - 2 - 15 - 2
	mark, state, note := " ", string(e.State), ""
	if e.Default {
		mark = "*"
	}
	if e.Lacks {
		state = strings.ToUpper(state)
	}
	if !e.Compared && (e.State == bootloader.Whole || e.Problem != "") {
		note = " (not compared)"
	}
	switch {
	case e.Opens == initrdsecrets.OpensUnknown:
		note += " (sealed, not tried)"
	case e.Sealed:
		note += " (sealed)"
	}
	if e.Readable {
		note += " (others can read it)"
	}
	title := cli.Visible(e.Title)
	if over := utf8.RuneCountInString(title+note) - width; over > 0 {
		runes := []rune(title) // systems in the store differ at their ends
		keep := max(len(runes)-over-1, 0)
		title = string(runes[:keep/2]) + "…" + string(runes[len(runes)-keep+keep/2:])
	}
	return fmt.Sprintf("%s %-15s  %s%s", mark, state, title, note)
}

// metrics has the text format of Prometheus. Labels say what and where, and do not change with
// what is found.
func metrics(s *bootloader.Status, now time.Time) string {
	var b strings.Builder
	head := func(name, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
	}
	single := func(name, help string, value int64) {
		head(name, help)
		fmt.Fprintf(&b, "%s %d\n", name, value)
	}
	each := func(name, help string, of func(bootloader.EntryStatus) (is, known bool)) {
		head(name, help)
		for i, e := range s.Entries {
			if is, known := of(e); known {
				fmt.Fprintf(&b, "%s{%s} %d\n", name, labels(i, e), number(is))
			}
		}
	}
	single("sops_initrd_check_success", "Whether boot entries could be checked.",
		number(s.Error == ""))
	single("sops_initrd_last_check_timestamp_seconds", "When boot entries were checked.",
		now.Unix())
	single("sops_initrd_entries", "Boot entries of NixOS.", int64(len(s.Entries)))
	each("sops_initrd_entry_lacks_secrets",
		"Whether a boot entry would not find the initrd secrets of its system.",
		func(e bootloader.EntryStatus) (is, known bool) { return e.Lacks, true })
	each("sops_initrd_entry_readable",
		"Whether other users of the host can read the initrd secrets of a boot entry.",
		func(e bootloader.EntryStatus) (is, known bool) { return e.Readable, true })
	each("sops_initrd_entry_sealed",
		"Whether the initrd secrets of a boot entry are sealed to a TPM.",
		func(e bootloader.EntryStatus) (is, known bool) { return e.Sealed, true })
	each("sops_initrd_entry_opens",
		"Whether the TPM opens the sealed secrets of a boot entry now, where it could be asked.",
		func(e bootloader.EntryStatus) (is, known bool) {
			return e.Opens == initrdsecrets.OpensNow, e.Sealed && e.Opens != initrdsecrets.OpensUnknown
		})
	if l := s.Lockout; l != nil {
		single("sops_initrd_tpm_failures", "Failures that the TPM has counted.", int64(l.Failures))
		single("sops_initrd_tpm_failures_max", "Failures at which the TPM refuses.", int64(l.Max))
	}
	single("sops_initrd_unreadable_entries", "Boot entries that could not be read.",
		int64(len(s.Unreadable)))
	single("sops_initrd_leftover_files", "Files with initrd secrets that no boot entry loads.",
		int64(len(s.Leftovers)+len(s.Temporary)))
	return b.String()
}

// labels are those of an entry; its place in the list keeps entries with equal titles apart.
func labels(i int, e bootloader.EntryStatus) string {
	return fmt.Sprintf(`entry="%d",boot=%s,loader=%s,title=%s,system=%s`,
		i, label(e.Boot), label(string(e.Loader)), label(e.Title), label(e.System))
}

// label quotes as the text format wants it.
func label(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
