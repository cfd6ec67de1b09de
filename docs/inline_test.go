package docs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// What stands in sentences cannot be played. Commands of this project's programs, of sops and of
// make that are named there have to exist, with these subcommands and flags; so do options,
// variables and files of this repository.

// grammar is what a program understands: its subcommands, if it has any, and its flags.
type grammar struct {
	name     string
	commands []string
	flags    func(command string) []string
}

// readersFiles have names like files of this repository, and are in the reader's.
var readersFiles = map[string]bool{"nix/sources.json": true, "nixos/N-default/": true, "nix/sources.nix": true}

var (
	codeSpan     = regexp.MustCompile("(?s)`([^`]+)`")
	assignment   = regexp.MustCompile(`^[A-Z_]+=\S*$`)
	inRepository = regexp.MustCompile(`^(?:\.ci|bench|cmd|docs|initrd|internal|nix|nixos|scripts|vmtests)/[\w./-]*$`)
	ourOption    = regexp.MustCompile(`^(?:config\.)?(sops(?:\.(?:[A-Za-z]+|"[^"]+"|<name>|\*))+)(?: = .*)?$`)
	variable     = regexp.MustCompile(`^SOPS_[A-Z_]+$`)
)

func TestInline(t *testing.T) {
	t.Parallel()
	known := grammars(t)
	options := documented(t)
	sources := sourceText(t)
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../README.md") {
		if strings.HasPrefix(page, "reference/") || strings.HasPrefix(page, "decisions/") {
			continue // made from what they are about; of their time
		}
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var spans []string
		for _, m := range codeSpan.FindAllStringSubmatch(fenced.ReplaceAllString(string(data), ""), -1) {
			spans = append(spans, strings.Join(strings.Fields(m[1]), " "))
		}
		for _, b := range blocks(t, page) {
			if strings.HasPrefix(page, "../") && (b.lang == "text" || b.lang == "sh") {
				for line := range strings.Lines(b.text) { // a command, blanks, and what it does
					line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
					line, _, _ = strings.Cut(line, " #")
					spans = append(spans, line)
				}
			}
		}
		for _, span := range spans {
			if err := checkSpan(known, options, sources, span); err != nil {
				t.Errorf("%s: `%s`: %v", page, span, err)
			}
		}
	}
}

func checkSpan(known []grammar, options map[string]bool, sources, span string) error {
	span = strings.TrimSuffix(span, ";")
	switch {
	case ourOption.MatchString(span):
		if !isOption(options, ourOption.FindStringSubmatch(span)[1]) {
			return errors.New("no such option")
		}
	case inRepository.MatchString(span):
		if _, err := os.Stat("../" + span); !readersFiles[span] {
			return err
		}
	case variable.MatchString(span):
		if !strings.Contains(sources, span) {
			return errors.New("no program or script here knows this variable")
		}
	case !strings.Contains(span, " = "): // Nix
		if err := checkCommand(known, span); !errors.Is(err, errUnknown) {
			return err
		}
	}
	return nil
}

// Examples of help texts and manual pages are commands that exist, too.
func TestExamples(t *testing.T) {
	t.Parallel()
	known := grammars(t)
	sources, err := filepath.Glob("man/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(sources, "reference/sops-initrd.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		indent := "    " // a block of Markdown, as go-md2man takes it
		if page == "reference/sops-initrd.md" {
			indent = "  " // as cobra prints it
		}
		for line := range strings.Lines(string(data)) {
			line, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), indent)
			if !ok || strings.Contains(line, "  ") || strings.HasPrefix(line, "#") || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "-") {
				continue
			}
			for _, command := range regexp.MustCompile(`\|\|?|&&|<\(`).Split(line, -1) {
				command, _, _ = strings.Cut(command, " > ")
				err := checkCommand(known, strings.TrimSuffix(strings.TrimSpace(command), ")"))
				if err != nil && !errors.Is(err, errUnknown) {
					t.Errorf("%s: %q: %v", page, line, err)
				}
			}
		}
	}
}

// grammars are those of all programs that the documentation may name.
func grammars(t *testing.T) []grammar {
	t.Helper()
	var all []grammar
	page, err := os.ReadFile("reference/sops-initrd.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(page), "\n## sops-initrd")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		sections[strings.TrimSpace(name)] = rest
	}
	g := grammar{name: "sops-initrd", commands: []string{"man"}, flags: func(c string) []string { return flagsIn(sections[c]) }} // man is hidden
	for c := range sections {
		if c != "" && !strings.Contains(c, " ") {
			g.commands = append(g.commands, c)
		}
	}
	all = append(all, g)
	for _, program := range []string{"sops-install-secrets", "ssh-to-age", "ssh-to-pgp", "sops-init-gpg-key"} {
		page, err := os.ReadFile("man/" + program + ".1.md")
		if err != nil {
			t.Fatal(err)
		}
		flags := flagsIn(strings.ReplaceAll(string(page), "*", ""))
		for _, f := range flags { // these take one hyphen or two
			flags = append(flags, "-"+f, strings.TrimPrefix(f, "-"))
		}
		all = append(all, grammar{name: program, flags: func(string) []string { return flags }})
	}
	sops := testkeys.SOPS(t)
	all = append(all, grammar{
		name:     "sops",
		commands: sopsCommands(t, sops),
		flags:    func(c string) []string { return flagsIn(help(t, sops, c, "--help")) },
	})
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	return append(all,
		grammar{name: "make", commands: targets, flags: func(string) []string { return nil }},
		grammar{name: "go", commands: []string{"test"}, flags: func(string) []string {
			return []string{"-v", "-run", "-count", "-update", "-cpuprofile", "-timeout", "-race"}
		}})
}

func help(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = slices.DeleteFunc(args, func(a string) bool { return a == "" })
	out, _ := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput() // git's has exit status 129
	return string(out)
}

func sopsCommands(t *testing.T, sops string) []string {
	t.Helper()
	_, list, _ := strings.Cut(help(t, sops, "--help"), "COMMANDS:")
	list, _, _ = strings.Cut(list, "GLOBAL OPTIONS:")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^ +([a-z-]+)`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	if len(names) < 8 {
		t.Fatalf("commands of sops: %q", names)
	}
	return names
}

func flagsIn(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)(?:^|[\s,(\[])(--?[a-zA-Z][a-zA-Z-]*)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

var errUnknown = errors.New("this test does not know the program")

// checkCommand says what in a command does not exist.
func checkCommand(known []grammar, command string) error {
	words := strings.Fields(command)
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	if inRepository.MatchString(words[0]) {
		_, err := os.Stat("../" + words[0])
		return err
	}
	i := slices.IndexFunc(known, func(g grammar) bool { return g.name == words[0] })
	if i < 0 {
		return fmt.Errorf("%w %s", errUnknown, words[0])
	}
	g := known[i]
	subcommand := ""
	rest := words[1:]
	if len(g.commands) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		if subcommand, rest = rest[0], rest[1:]; !slices.Contains(g.commands, subcommand) {
			return fmt.Errorf("%s has no command %s", g.name, subcommand)
		}
	}
	if i := slices.Index(rest, "--"); i >= 0 {
		rest = rest[:i] // what follows is another program's
	}
	for i, word := range rest {
		flag, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(flag, "-") && len(flag) > 1 && !slices.Contains(g.flags(subcommand), flag) {
			return fmt.Errorf("%s %s has no flag %s", g.name, subcommand, flag)
		}
		if g.name == "go" && flag == "-run" && i+1 < len(rest) {
			test, _, _ := strings.Cut(strings.Trim(rest[i+1], "'"), "/")
			if test != "TestName" && !strings.Contains(testText(), "func "+test+"(") {
				return fmt.Errorf("there is no %s", test)
			}
		}
		if directory, ok := strings.CutPrefix(word, "./"); ok && g.name == "go" {
			if _, err := os.Stat("../" + strings.TrimSuffix(directory, "...")); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOption says whether there is an option, where names of secrets and templates are any. One may
// lead into what an option has, as a package does.
func isOption(options map[string]bool, name string) bool {
	name = regexp.MustCompile(`^sops\.(secrets|templates)\.(?:"[^"]+"|[\w-]+)`).ReplaceAllString(name, "sops.$1.<name>")
	name = regexp.MustCompile(`(^sops\.(?:initrd\.)?environment)\.[A-Z_]+$`).ReplaceAllString(name, "$1")
	name = strings.TrimSuffix(name, ".*")
	if _, ok := options[name]; ok || name == "sops.secrets.<name>" || name == "sops.templates.<name>" {
		return true
	}
	for o := range options {
		if strings.HasPrefix(o, name+".") {
			return true
		}
	}
	return false
}

// sourceText is the text of all programs and scripts.
func sourceText(t *testing.T) string {
	t.Helper()
	return gather(func(path string) bool {
		return strings.HasSuffix(path, ".go") && !strings.Contains(path, "docs/inline_test") ||
			strings.Contains(path, "scripts/") || strings.HasSuffix(path, ".bash") || strings.HasSuffix(path, "/Makefile") ||
			strings.HasSuffix(path, "eval/run")
	})
}

func testText() string {
	return gather(func(path string) bool { return strings.HasSuffix(path, "_test.go") })
}

func gather(wanted func(path string) bool) string {
	var b strings.Builder
	_ = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || d.Name() == "vendor") {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() && wanted(path) {
			data, err := os.ReadFile(path)
			if err == nil {
				b.Write(data)
			}
		}
		return nil
	})
	return b.String()
}
