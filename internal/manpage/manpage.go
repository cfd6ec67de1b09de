// Package manpage checks that the flags of a program, its usage text and the source of its manual
// page tell the same. It is imported by tests only.
//
// The source is Markdown that go-md2man turns into a manual page: a title line "% NAME SECTION",
// level-one headings for the sections, options as definition lists:
//
//	**-o** *FILE*
//	: Write to FILE.
package manpage

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Sections that every page has, in this order; others may stand between them.
var sections = [...]string{
	"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES",
	"SEE ALSO",
}

var (
	usageOption = regexp.MustCompile(`(?m)^  (-[^ ].*?)(?:  .*)?$`)
	pageOption  = regexp.MustCompile(`(?m)^(\*\*-.*)\n: `)
	flagName    = regexp.MustCompile(`(?:^|[ ,*])--?([a-z0-9][a-z0-9-]*)`)
	heading     = regexp.MustCompile(`(?m)^# (.*)$`)
)

// Check joins everything that usage or the page say otherwise than the flags. Flags -h, -help and
// -version belong to every program and need not be defined.
func Check(f *flag.FlagSet, usage, page string) error {
	defined := map[string]bool{"h": true, "help": true, "version": true}
	f.VisitAll(func(fl *flag.Flag) { defined[fl.Name] = true })
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	for where, got := range map[string]map[string]bool{
		"usage":       options(usageOption, usage),
		"manual page": options(pageOption, section(page, "OPTIONS")),
	} {
		for _, name := range slices.Sorted(maps.Keys(defined)) {
			if !got[name] {
				fault("%s: flag -%s is missing", where, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if !defined[name] {
				fault("%s: flag -%s does not exist", where, name)
			}
		}
	}
	if title := "% " + strings.ToUpper(f.Name()) + " "; !strings.HasPrefix(page, title) {
		fault("manual page: first line does not begin with %q", title)
	}
	var found []string
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		if slices.Contains(sections[:], m[1]) {
			found = append(found, m[1])
		}
	}
	if !slices.Equal(found, sections[:]) {
		fault("manual page: sections %q, want %q in this order", found, sections)
	}
	synopsis := plain(section(page, "SYNOPSIS"))
	examples := section(page, "EXAMPLES")
	part := "" // of the usage text; the synopsis stands before the first one
	for line := range strings.Lines(usage) {
		text := strings.TrimSpace(line)
		switch {
		case part == "" && strings.HasPrefix(strings.TrimPrefix(text, "usage: "), f.Name()+" "):
			if s := strings.TrimPrefix(text, "usage: "); !strings.Contains(synopsis, s) {
				fault("manual page: synopsis lacks %q", s)
			}
		case strings.HasSuffix(text, ":") && !strings.HasPrefix(line, " "):
			part = text
		case part == "examples:" && text != "" && !strings.Contains(examples, text):
			fault("manual page: examples lack %q", text)
		}
	}
	return errors.Join(faults...)
}

// options returns the names of all flags in the lines that the expression finds.
func options(lines *regexp.Regexp, text string) map[string]bool {
	names := map[string]bool{}
	for _, line := range lines.FindAllStringSubmatch(text, -1) {
		for _, name := range flagName.FindAllStringSubmatch(line[1], -1) {
			names[name[1]] = true
		}
	}
	return names
}

// section returns what stands below a heading of the page.
func section(page, name string) string {
	_, rest, _ := strings.Cut(page, "\n# "+name+"\n")
	text, _, _ := strings.Cut(rest, "\n# ")
	return text
}

// plain takes emphasis and line breaks away.
func plain(markdown string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("*", "", `\`, "").Replace(markdown)), " ")
}
