package manpage

import (
	"flag"
	"strings"
	"testing"
)

const goodUsage = `usage: prog [-o FILE] [--long N]

options:
  -o FILE          write to FILE
  -l, -long N      a number
  -version         print the version
  -h, -help        print this

examples:
  prog -o x
`

const goodPage = `% PROG 1

# NAME

prog - does it

# SYNOPSIS

**prog** \[**-o** *FILE*\]
\[**--long** *N*\]

# DESCRIPTION

Text with **-other** flags of other programs.

# OPTIONS

**-o** *FILE*
: Write to FILE.

**-l**, **-long** *N*
: A number, see **-o**.

**-version**
: Print the version.

**-h**, **-help**
: Print help.

# EXIT STATUS

0

# EXAMPLES

    prog -o x

# SEE ALSO

**gpg**(1)
`

func TestCheck(t *testing.T) {
	t.Parallel()
	flags := func(names ...string) *flag.FlagSet {
		f := flag.NewFlagSet("prog", flag.ContinueOnError)
		for _, n := range names {
			f.String(n, "", "")
		}
		return f
	}
	all := flags("o", "l", "long")
	for _, c := range []struct {
		name        string
		flags       *flag.FlagSet
		usage, page string
		want        string // part of the error; empty: none
	}{
		{"same", all, goodUsage, goodPage, ""},
		{
			"flag undocumented", flags("o", "l", "long", "new"), goodUsage, goodPage,
			"usage: flag -new is missing",
		},
		{"flag gone", flags("o", "l"), goodUsage, goodPage, "manual page: flag -long does not exist"},
		{
			"page lacks one", all, goodUsage, strings.Replace(goodPage, "**-l**, ", "", 1),
			"manual page: flag -l is missing",
		},
		{
			"usage lacks one", all, strings.Replace(goodUsage, "-l, ", "", 1), goodPage,
			"usage: flag -l is missing",
		},
		{
			"other synopsis", all, strings.Replace(goodUsage, "[--long N]", "[--long M]", 1), goodPage,
			"synopsis lacks",
		},
		{
			"other example", all, strings.Replace(goodUsage, "prog -o x", "prog -o y", 1), goodPage,
			"examples lack",
		},
		{"no section", all, goodUsage, strings.Replace(goodPage, "# EXIT STATUS\n", "", 1), "sections"},
		{"other title", all, goodUsage, strings.Replace(goodPage, "% PROG", "% PORG", 1), "first line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Check(c.flags, c.usage, c.page)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
