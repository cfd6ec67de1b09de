package bootloader

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// maxMenuBytes bounds the files of menus. A thousand generations need less than 1 MB.
const maxMenuBytes = 16 << 20

// initOf finds the system that kernel parameters start.
var initOf = pattern.New(`(?:^|[\s"])init=(\S+)/init(?:[\s"]|$)`)

// unchangeable is the line of entries whose initrd cannot be changed.
const unchangeable = -1

// readText reads a file of a menu, up to the limit.
func readText(f *os.File) (string, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxMenuBytes+1))
	if err == nil && len(data) > maxMenuBytes {
		err = fmt.Errorf("is larger than %d bytes", maxMenuBytes)
	}
	return string(data), err
}

// parser collects the entries of one file, line by line.
type parser struct {
	menu    *Menu
	file    string
	entries []Entry
	current *Entry
	number  int // of entries, somebody else's included
}

// lines makes a reader of menus from what a loader does with a line: its number, its first word,
// what follows, and all of it.
func lines(
	take func(p *parser, n int, word, rest, line string),
) func(*Menu, string, *os.File) ([]Entry, error) {
	return func(m *Menu, file string, f *os.File) ([]Entry, error) {
		text, err := readText(f)
		if err != nil {
			return nil, err
		}
		p := &parser{menu: m, file: file}
		n := 0
		for line := range strings.SplitSeq(text, "\n") {
			trimmed := strings.TrimSpace(line)
			word, rest := trimmed, ""
			if i := strings.IndexAny(trimmed, " \t"); i >= 0 {
				word, rest = trimmed[:i], strings.TrimSpace(trimmed[i:])
			}
			take(p, n, word, rest, line)
			n++
		}
		p.finish()
		return p.entries, nil
	}
}

// begin ends the entry before and begins the next.
func (p *parser) begin(title string) {
	p.finish()
	p.open()
	p.current.Title = title
}

// open begins an entry, if none is open.
func (p *parser) open() {
	if p.current == nil {
		p.current = &Entry{file: p.file, line: unchangeable, number: p.number}
		p.number++
	}
}

// options takes an entry's kernel parameters.
func (p *parser) options(text string) {
	if m := initOf().FindStringSubmatch(text); m != nil && p.current != nil {
		p.current.Toplevel = m[1]
	}
}

// initrd takes a file that an entry loads, named in line n. The line can be changed where it names
// the only one.
func (p *parser) initrd(n int, name string) {
	if p.current == nil {
		return
	}
	p.current.Initrds = append(p.current.Initrds, p.menu.host(p.file, name))
	p.current.line = unchangeable
	if len(p.current.Initrds) == 1 {
		p.current.line = n
	}
}

// finish ends an entry. One that starts no NixOS system is somebody else's: only the files that it
// loads are noted.
func (p *parser) finish() {
	switch {
	case p.current == nil:
	case p.current.Toplevel != "":
		p.entries = append(p.entries, *p.current)
	default:
		p.menu.foreign = append(p.menu.foreign, p.current.Initrds...)
	}
	p.current = nil
}

// names are the files that the rest of a line lists.
func names(rest string) []string {
	return strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(" \t,", r) })
}

var errNoRegular = errors.New("is not a regular file")

var (
	// finalWord is the last word of a line that names an initrd.
	finalWord = pattern.New(`\S+\s*$`)
	// initrdParameter is the parameter that tells the kernel's own EFI loader of an initrd.
	initrdParameter = pattern.New(`(^|\s)initrd=(\S+)`)
)

// lastWord replaces the last word of a line.
func lastWord(line, initrd string) string {
	return finalWord().ReplaceAllLiteralString(line, initrd)
}

// parameter replaces the initrd in kernel parameters.
func parameter(line, initrd string) string {
	literal := strings.ReplaceAll(initrd, "$", "$$")
	return initrdParameter().ReplaceAllString(line, "${1}initrd="+literal)
}

// fromTop names a file from the top of the boot partition.
func fromTop(_ *Menu, _, initrd string) string { return "/" + initrd }
