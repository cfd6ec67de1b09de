package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are all pages below this directory, without the sources of manual pages.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (path == "man" || path == "stage" || path == "book") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") && path != "SUMMARY.md" {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// summary lists the pages of the book in their order.
func summary(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("SUMMARY.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range link.FindAllStringSubmatch(string(data), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestSummary: the book has every page once, and no page that does not exist.
func TestSummary(t *testing.T) {
	t.Parallel()
	listed := map[string]int{}
	for _, page := range summary(t) {
		listed[page]++
		if _, err := os.Stat(page); err != nil || listed[page] > 1 {
			t.Errorf("SUMMARY.md: %s, %d times: %v", page, listed[page], err)
		}
	}
	for _, page := range pages(t) {
		if listed[page] == 0 {
			t.Errorf("SUMMARY.md does not list %s", page)
		}
	}
}

// TestLinks: every link to a file leads to one, and every anchor to a heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	outside := []string{"../CONTRIBUTING.md", "../README.md", "../SECURITY.md", "../CHANGELOG.md"}
	for _, page := range append(append(pages(t), "SUMMARY.md"), outside...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			data, err := os.ReadFile(target)
			if info, dir := os.Stat(target); err != nil && (dir != nil || !info.IsDir()) {
				t.Errorf("%s: %v", page, err)
			} else if anchor != "" && !anchors(string(data))[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
}

var (
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInNames = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	fenced     = regexp.MustCompile("(?ms)^ *```[^\n]*\n.*?^ *```$")
)

// anchors are the names that GitHub and mdBook give to the headings of a page.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := notInNames.ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

// TestBlocks: every command is in a transcript, which TestJourney plays; every Nix expression is in
// an example, which is evaluated.
func TestBlocks(t *testing.T) {
	t.Parallel()
	examples := ""
	err := filepath.WalkDir("examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		examples += undent(string(data)) + "\x00"
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../README.md") {
		for _, b := range blocks(t, page) {
			_, toFile := b.attrs["file"]
			_, edited := b.attrs["editor"]
			switch b.lang {
			case "nix":
				if !strings.Contains(examples, undent(b.text)) {
					t.Errorf("%s: no file below docs/examples has these lines", b)
				}
			case "console":
				b.commands(t)
			case "text":
				if strings.Contains("\n"+b.text, "\n$ ") {
					t.Errorf("%s: a transcript is a console block", b)
				}
			case "yaml", "json":
				if !toFile && !edited && !strings.HasPrefix(page, "explanation/") {
					t.Errorf("%s: a %s block is a file (file=NAME) or what is typed into an editor (editor)", b, b.lang)
				}
			case "sh", "":
				if !toFile && !strings.HasPrefix(page, "../") && !strings.HasPrefix(page, "explanation/") {
					t.Errorf("%s: nothing runs this block", b)
				}
			default:
				t.Errorf("%s: nothing tests a block of language %q", b, b.lang)
			}
		}
	}
}

// undent removes indentation, so that a part of an example can be shown.
func undent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// TestTroubleshooting: every message that has an entry is printed by a transcript of that entry,
// which TestJourney plays. The last section is about failures without a message.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	const page = "how-to/troubleshooting.md"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	messages, _, found := strings.Cut(string(data), "\n## Without a message\n")
	if !found {
		t.Fatal("no section about failures without a message")
	}
	all := blocks(t, page)
	entries := strings.Split(messages, "\n### ")
	line := strings.Count(entries[0], "\n") + 2
	for _, entry := range entries[1:] {
		message, _, _ := strings.Cut(entry, "\n")
		end := line + strings.Count(entry, "\n") + 1
		shown := false
		for _, b := range all {
			if b.lang != "console" || b.line < line || b.line >= end {
				continue
			}
			for _, c := range b.commands(t) {
				for _, want := range c.want {
					has := true
					for part := range strings.SplitSeq(message, "…") {
						has = has && strings.Contains(want, strings.TrimSpace(part))
					}
					shown = shown || has
				}
			}
		}
		if !shown {
			t.Errorf("%s:%d: no transcript prints %q", page, line, message)
		}
		line = end
	}
}
