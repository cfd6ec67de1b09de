package docs

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a page. Its first line has the language and attributes: ```nix
// file=flake.nix.
type block struct {
	page  string
	line  int // of the first line of text
	lang  string
	attrs map[string]string
	text  string
	// hidden: it stands in a comment. It prepares something and no reader sees it.
	hidden bool
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var fence = regexp.MustCompile("^( *)```(.*)$")

// blocks reads all fenced blocks of a page, those in lists too.
func blocks(t *testing.T, page string) []*block {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	comment := false
	var all []*block
	var open *block
	indent, n := "", 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		m := fence.FindStringSubmatch(line)
		if open == nil {
			if strings.Contains(line, "<!--") {
				comment = true
			}
			if strings.LastIndex(line, "-->") > strings.LastIndex(line, "<!--") {
				comment = false
			}
		}
		switch {
		case m != nil && open == nil:
			open = &block{page: page, line: n + 1, attrs: map[string]string{}, hidden: comment}
			indent = m[1]
			for i, word := range strings.Fields(m[2]) {
				if name, value, _ := strings.Cut(word, "="); i == 0 {
					open.lang = word
				} else {
					open.attrs[name] = value
				}
			}
		case m != nil && m[2] == "" && m[1] == indent:
			all = append(all, open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s: the block is not closed", open)
	}
	return all
}

// command is one command of a transcript and what it prints.
type command struct {
	machine string // admin or server01
	text    string // several lines where it goes on behind "> "
	typed   string // what the user types while it runs
	want    []string
	line    int
}

// prompts of transcripts, by the machine they stand for.
var prompts = map[string]string{"$ ": "admin", "root@server01# ": "server01"}

// commands reads a transcript.
func (b *block) commands(t *testing.T) []*command {
	t.Helper()
	var all []*command
	var last *command
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		machine := ""
		for prompt, m := range prompts {
			if rest, ok := strings.CutPrefix(line, prompt); ok {
				machine = m
				last = &command{machine: m, text: rest, line: b.line + i}
				all = append(all, last)
			}
		}
		switch {
		case machine != "":
		case last == nil:
			t.Fatalf("%s: a transcript begins with a prompt", b)
		case line == ">" || strings.HasPrefix(line, "> ") && len(last.want) == 0:
			last.text += "\n" + strings.TrimPrefix(strings.TrimPrefix(line, ">"), " ")
		default:
			last.want = append(last.want, line)
		}
	}
	if last != nil {
		last.typed = b.attrs["typed"]
	}
	return all
}

// fails says whether the transcript shows a failure.
func (c *command) fails() bool {
	for _, line := range c.want {
		if strings.Contains(line, "error: ") || line == "error:" {
			return true
		}
	}
	return false
}

// matches says whether the output is what the transcript shows, where "…" stands for anything
// within a line and a line "…" for any lines. A transcript that shows nothing promises nothing.
func (c *command) matches(output string) bool {
	if len(c.want) == 0 {
		return true
	}
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range c.want {
		if line == "…" {
			pattern.WriteString(`(?s:.*\n)?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(strings.TrimRight(output, "\n") + "\n")
}
