package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
)

// referencePage has what --help prints of every command.
const referencePage = "../../docs/reference/sops-initrd.md"

// TestReference compares the page of the documentation with the commands; -update makes it anew.
func TestReference(t *testing.T) {
	t.Parallel()
	want := reference(documentedRoot())
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the commands say of themselves: run go test ./cmd/sops-initrd -run "+
			"TestReference -update", referencePage)
	}
}

func documentedRoot() *cobra.Command {
	root := rootCommand(cli.Env{Getenv: func(string) string { return "" }})
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	return root
}

// walk calls f with a command and all below it that --help lists.
func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			walk(sub, f)
		}
	}
}

// Help fits a terminal of 80 columns.
func TestHelp_width(t *testing.T) {
	t.Parallel()
	walk(documentedRoot(), func(c *cobra.Command) {
		for line := range strings.Lines(help(c)) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
				t.Errorf("%s --help: a line of %d columns: %s", c.CommandPath(), n, line)
			}
		}
	})
}

func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# sops-initrd

All commands. This page is made from the help of the program (` + "`go test ./cmd/sops-initrd -run TestReference -update`" + `); the same
texts are its manual pages, which the packages install, and which ` + "`sops-initrd man DIRECTORY`" + ` of the full build writes.
`)
	walk(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		about := c.Long
		if about == "" {
			about = c.Short + "."
		}
		block := func(text string) {
			fmt.Fprintf(&b, "\n```text\n%s\n```\n", strings.TrimRight(text,
				"\n "))
		}
		fmt.Fprintf(&b, "\n## %s\n", c.CommandPath())
		if c.Parent() != nil &&
			c.Parent().Name() == "completion" { // cobra's own words, with examples between them
			about = c.Short + "."
		}
		for paragraph := range strings.SplitSeq(strings.TrimSpace(about), "\n\n") {
			if strings.HasPrefix(paragraph, "  ") {
				block(paragraph)
			} else {
				b.WriteString("\n" + paragraph + "\n")
			}
		}
		if c.Runnable() && c != root {
			block(c.UseLine())
		}
		block(strings.TrimRight(c.LocalFlags().FlagUsagesWrapped(helpWidth), "\n"))
		if c.HasExample() {
			block(c.Example)
		}
	})
	return b.String()
}

// Every command has a manual page, with everything that belongs on one, and completions name
// all of them.
func TestManualPages(t *testing.T) {
	t.Parallel()
	if remotekey.Small {
		t.Skip("not here: slim programs write no manual pages")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		e := cli.Env{
			Args: args, Stdout: &stdout, Stderr: &stderr,
			Getenv: func(string) string { return "" },
		}
		if status := run(e); status != 0 {
			t.Fatalf("%q: exit status %d: %s", args, status, &stderr)
		}
		return stdout.String()
	}
	run("man", dir)
	pages := 0
	walk(documentedRoot(), func(c *cobra.Command) {
		pages++
		data, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".8"))
		if err != nil {
			t.Error(err)
			return
		}
		page := strings.ReplaceAll(string(data), `\`, "")
		wanted := []string{".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH SEE ALSO"}
		if c.HasExample() {
			wanted = append(wanted, ".SH EXAMPLE")
		}
		wanted = append(wanted,
			regexp.MustCompile(`--[a-z-]+`).FindAllString(c.LocalFlags().FlagUsages(), -1)...)
		for _, w := range wanted {
			if !strings.Contains(page, w) {
				t.Errorf("the manual page of %s lacks %s", c.CommandPath(), w)
			}
		}
	})
	if written, err := filepath.Glob(dir + "/*.8"); err != nil || len(written) != pages {
		t.Errorf("%d manual pages for %d commands (%v)", len(written), pages, err)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := run("completion", shell); !strings.Contains(script, program) {
			t.Errorf("completion %s does not name %s", shell, program)
		}
	}
	if got := run("__complete", "ins"); !strings.Contains(got, "inspect\t") || !strings.Contains(got,
		"install-loader\t") {
		t.Errorf("completions of ins:\n%s", got)
	}
	if got := run("__complete", "append", "--al"); !strings.Contains(got, "--allow-in-place\t") {
		t.Errorf("completions of append --al:\n%s", got)
	}
}
