package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// helpWidth is that of a terminal which nobody has made wider.
const helpWidth = 80

// help is what --help prints of a command.
func help(c *cobra.Command) string {
	var b strings.Builder
	about := c.Long
	if about == "" {
		about = c.Short
	}
	b.WriteString(fill(about, helpWidth) + "\n\nUsage:\n")
	use := c.UseLine()
	if !c.Runnable() || c.HasAvailableSubCommands() {
		use = c.CommandPath() + " COMMAND"
	}
	b.WriteString("  " + strings.ReplaceAll(fill(use, helpWidth-6), "\n", "\n      ") + "\n")
	if c.HasExample() {
		b.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-14s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	if c.HasAvailableLocalFlags() {
		b.WriteString("\nFlags:\n" + c.LocalFlags().FlagUsagesWrapped(helpWidth))
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about a command.\n", c.CommandPath())
	}
	return b.String()
}

// fill breaks a text into lines of a width. Lines that begin with a blank are rows of a list, whose
// second column stays one.
func fill(text string, width int) string {
	var lines []string
	indent := ""
	open := false // the last line takes more words
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		begin := "" // what the next word stands behind
		if indent = ""; line == "" || line[0] == ' ' {
			open = false
			row := strings.TrimLeft(line, " ")
			indent = line[:len(line)-len(row)]
			begin = indent
			if _, rest, ok := strings.Cut(row, "  "); ok {
				row = strings.TrimLeft(rest, " ")
				begin = line[:len(line)-len(row)]
				indent = strings.Repeat(" ", utf8.RuneCountInString(begin))
			}
			line = row
		}
		for word := range strings.SplitSeq(line, " ") {
			last := len(lines) - 1
			if open && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= width {
				lines[last] += " " + word
				continue
			}
			lines, open = append(lines, begin+word), true
			begin = indent
		}
		if indent != "" || line == "" {
			open = false
		}
	}
	return strings.Join(lines, "\n")
}

// addHelp gives the root command the help of all commands, and the command that prints it.
func addHelp(root *cobra.Command, e cli.Env) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { cli.Tell(e, program, help(c)) })
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, sub := range root.Commands() {
				names = append(names, sub.Name())
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return noCommand(root, args)
			}
			cli.Tell(e, program, help(c))
			return nil
		},
	})
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		return // cobra leaves it out where there are no other commands
	}
	completion.Args = cobra.ArbitraryArgs
	completion.RunE = func(c *cobra.Command, args []string) error {
		text := "completion: no shell given"
		if len(args) > 0 {
			text = fmt.Sprintf("completion: unknown shell %q", args[0])
		}
		var shells []string
		for _, sub := range c.Commands() {
			shells = append(shells, sub.Name())
		}
		return cli.WithHint(cli.Usage(errors.New(text)), "one of "+strings.Join(shells, ", "))
	}
}

// elsewhere are words that users type for what other commands or programs do.
var elsewhere = map[string]string{
	"edit":    "sops FILE edits a sops file; bootstrap --replace makes a new SSH host key in one",
	"encrypt": "sops encrypt does that; bootstrap makes the first secrets of an initrd",
	"decrypt": "sops decrypt does that; diagnose says why a file cannot be decrypted",
	"rekey": "sops updatekeys FILE encrypts a file for the recipients that .sops.yaml has " +
		"now; then switch",
	"updatekeys": "sops updatekeys FILE encrypts a file for the recipients that .sops.yaml has " +
		"now; then switch",
	"rotate": "sops rotate -i FILE gives a file a new data key; bootstrap --replace makes a " +
		"new SSH host key",
	"doctor":  "diagnose says why this host can, or cannot, decrypt; status, what it would boot",
	"list":    "inspect IMAGE lists the secrets of an image; status, what this host would boot",
	"show":    "inspect IMAGE lists the secrets of an image; status, what this host would boot",
	"install": "append puts secrets into an image; install-loader runs a boot loader's installer",
}
