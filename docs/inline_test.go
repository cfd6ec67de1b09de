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

// What stands in sentences cannot be played. Commands there have to be ones that exist, with subcommands and flags that exist;
// options, variables and files of this repository too. TestInline looks at all of them.

// grammar is what a program understands: its subcommands, if it has any, and its flags.
type grammar struct {
	commands []string
	flags    func(command string) []string
}

// external are programs that are not here to be asked, with the subcommands and flags that the documentation uses. Where each
// is read: nixos-rebuild-ng's parser in nixpkgs; the manuals of Nix 2.8 to 2.31; src/command/apply.rs of colmena (5bf4ce6);
// src/cli.rs of deploy-rs (d5eff7f); the README of morph (a529f37); nixops/args.py of NixOps (fd4b8031); src/nixos-anywhere.sh
// (91fc9b7); cmd/tailscaled and cmd/tailscale/cli of tailscale 1.94. A new use has to be looked up there, and is then added here.
var external = map[string]struct{ commands, flags string }{
	"age-keygen":              {"", "-o -y"},
	"colmena":                 {"apply", ""},
	"cryptsetup":              {"open luksAddKey", "--test-passphrase --key-file"},
	"deploy":                  {"", "--boot --dry-activate"},
	"morph":                   {"deploy", ""},
	"echo":                    {"", ""},
	"gpg":                     {"", "--import --quiet"},
	"ssh-keyscan":             {"", "-t"},
	"nix":                     {"shell run flake eval", "--raw"},
	"nix-channel":             {"", "--add --update"},
	"nix-collect-garbage":     {"", "--delete-older-than"},
	"nixops":                  {"deploy", "-d --boot --test"},
	"nixos-anywhere":          {"", "--extra-files --flake --copy-host-keys"},
	"nixos-option":            {"", ""},
	"nixos-rebuild":           {"switch boot test", "--flake --target-host --build-host --sudo --use-remote-sudo --rollback"},
	"perf":                    {"record", "-e -g"},
	"switch-to-configuration": {"switch boot test dry-activate", ""},
	"ssh":                     {"", "-p -t"},
	"tailscale":               {"status up", "--socket --hostname --advertise-tags"},
	"tailscaled":              {"", "--tun --state --socket"},
	"valgrind":                {"", "--tool"},
	"zstd":                    {"", "-19"},
	"rm":                      {"", "-r"},
	"bash":                    {"", ""},
}

// readersFiles have names like files of this repository, and are in the reader's.
var readersFiles = map[string]bool{"nix/sources.json": true, "modules/services.nix": true, "modules/users.nix": true, "nixos/N-default/": true}

// phrases look like commands and are none.
var phrases = map[string]bool{
	"area: effect": true, "operation object: cause": true, "program: error: what: why": true,
	"experimental-features = nix-command flakes": true, "not wanted": true, "boot.c": true,
}

// nixosOptions are the options of NixOS, and of the tools of how-to/deploy.md and the migrations, that are named in sentences.
var nixosOptions = []string{
	"age.identityPaths", "age.secrets", // ryantm/agenix, modules/age.nix
	"boot.initrd.availableKernelModules", "boot.initrd.network.ssh.hostKeys", "boot.initrd.secrets", "boot.initrd.systemd.network",
	"boot.loader.external", "boot.loader.initScript",
	"deployment.keys", "deployment.secrets", // colmena and NixOps; morph
	"fileSystems", "system.build.initialRamdiskSecretAppender", "users.mutableUsers",
}

var (
	codeSpan     = regexp.MustCompile("(?s)`([^`]+)`")
	fencedBlock  = regexp.MustCompile("(?ms)^ *```[^\n]*\n.*?^ *```$")
	assignment   = regexp.MustCompile(`^[A-Z_]+=\S*$`)
	inRepository = regexp.MustCompile(`^(?:\.ci|bench|cmd|docs|initrd|internal|modules|nix|nixos|scripts|vmtests)/[\w./-]*$`)
	ourOption    = regexp.MustCompile(`^(?:config\.)?(sops(?:\.(?:[A-Za-z]+|"[^"]+"|<name>|\*))+)(?: = .*)?$`)
	theirOption  = regexp.MustCompile(`^(?:boot|fileSystems|system|users|services|systemd|deployment|age)\.[\w."/<>-]+(?: = .*)?$`)
	variable     = regexp.MustCompile(`^[A-Z]+(?:_[A-Z]+)+$`)
	flagOnly     = regexp.MustCompile(`^--?[a-z][a-z-]+$`)
	programName  = regexp.MustCompile(`^[a-z][a-z0-9-]+$`)
)

func TestInline(t *testing.T) {
	t.Parallel()
	known := grammars(t)
	options := documented(t)
	sources := sourceText(t)
	commands, names := 0, 0
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../README.md") {
		if strings.HasPrefix(page, "reference/") {
			continue // made from what it is about
		}
		// Explanations tell of other systems, too: there only what this test knows is looked at.
		explains := strings.HasPrefix(page, "explanation/") || strings.HasPrefix(page, "decisions/") || page == "performance.md"
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var spans []string
		for _, m := range codeSpan.FindAllStringSubmatch(fencedBlock.ReplaceAllString(string(data), ""), -1) {
			spans = append(spans, strings.ReplaceAll(m[1], "\n", " "))
		}
		all, err := blocks(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if b.lang == "text" && page == "../CONTRIBUTING.md" || b.lang == "sh" && page == "../README.md" {
				for line := range strings.Lines(b.text) { // a command, blanks, and what it does
					line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
					if line, _, _ = strings.Cut(line, " #"); strings.HasPrefix(line, "make ") || strings.Contains(line, "go test") || strings.Contains(line, "/run") {
						spans = append(spans, line)
					}
				}
			}
		}
		for _, span := range spans {
			fault := func(format string, args ...any) { t.Errorf("%s: `%s`: %s", page, span, fmt.Sprintf(format, args...)) }
			first, _, several := strings.Cut(span, " ")
			switch {
			case phrases[span]:
			case ourOption.MatchString(strings.TrimSuffix(span, ";")):
				names++
				if name := ourOption.FindStringSubmatch(strings.TrimSuffix(span, ";"))[1]; !isOption(options, name) {
					fault("no such option")
				}
			case theirOption.MatchString(strings.TrimSuffix(span, ";")):
				names++
				if !explains && !slices.ContainsFunc(nixosOptions, func(o string) bool {
					return span == o || strings.HasPrefix(span, o+".") || strings.HasPrefix(span, o+" ")
				}) {
					fault("not one of the options of NixOS that this test knows: look it up, and add it")
				}
			case inRepository.MatchString(span):
				names++
				if _, err := os.Stat("../" + span); err != nil && !readersFiles[span] && !explains {
					fault("%v", err)
				}
			case variable.MatchString(span):
				names++
				if !strings.Contains(sources, span) {
					fault("no program or script here knows this variable")
				}
			case flagOnly.MatchString(span):
				names++
				if !explains && !slices.ContainsFunc(known, func(g named) bool { return g.anyFlag(span) }) {
					fault("no program has this flag")
				}
			case several && (programName.MatchString(first) || assignment.MatchString(first)):
				if strings.Contains(span, " = ") {
					continue // Nix
				}
				commands++
				if err := checkCommand(known, span); err != nil && !(explains && errors.Is(err, errUnknown)) {
					fault("%v", err)
				}
			}
		}
	}
	if commands < 40 || names < 90 {
		t.Errorf("%d commands and %d names found: this test reads the pages wrongly", commands, names)
	}
}

// Examples of help texts and manual pages are commands that exist, too.
func TestExamples(t *testing.T) {
	t.Parallel()
	known := grammars(t)
	sources, err := filepath.Glob("man/*.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
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
				count++
				if err := checkCommand(known, strings.TrimSuffix(strings.TrimSpace(command), ")")); err != nil {
					t.Errorf("%s: %q: %v", page, line, err)
				}
			}
		}
	}
	if count < 25 {
		t.Errorf("%d commands found: this test reads the pages wrongly", count)
	}
}

// named is a program with its grammar.
type named struct {
	name string
	grammar
}

func (g named) anyFlag(flag string) bool {
	for _, c := range append(g.commands, "") {
		if slices.Contains(g.flags(c), flag) {
			return true
		}
	}
	return false
}

// grammars are those of all programs that the documentation may name.
func grammars(t *testing.T) []named {
	t.Helper()
	var all []named
	page, err := os.ReadFile("reference/sops-initrd.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(page), "\n## sops-initrd")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		sections[strings.TrimSpace(name)] = rest
	}
	g := grammar{commands: []string{"man"}, flags: func(c string) []string { return flagsIn(sections[c]) }} // man is hidden
	for c := range sections {
		if c != "" && !strings.Contains(c, " ") {
			g.commands = append(g.commands, c)
		}
	}
	all = append(all, named{"sops-initrd", g})
	for _, program := range []string{"sops-install-secrets", "ssh-to-age", "ssh-to-pgp", "sops-init-gpg-key"} {
		page, err := os.ReadFile("man/" + program + ".1.md")
		if err != nil {
			t.Fatal(err)
		}
		flags := flagsIn(strings.ReplaceAll(string(page), "*", ""))
		for _, f := range flags { // these take one hyphen or two
			flags = append(flags, "-"+f, strings.TrimPrefix(f, "-"))
		}
		all = append(all, named{program, grammar{flags: func(string) []string { return flags }}})
	}
	sops := testkeys.SOPS(t)
	all = append(all, named{"sops", grammar{
		commands: sopsCommands(t, sops),
		flags: func(c string) []string {
			return flagsIn(help(t, sops, c, "--help"))
		},
	}})
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	all = append(all,
		named{"make", grammar{commands: targets, flags: func(string) []string { return nil }}},
		named{"git", grammar{
			commands: []string{"add", "commit", "diff", "clone"},
			flags:    func(c string) []string { return flagsIn(help(t, "git", c, "-h")) },
		}},
		named{"go", grammar{commands: []string{"test"}, flags: func(string) []string {
			return []string{"-v", "-run", "-count", "-update", "-cpuprofile", "-timeout"}
		}}},
	)
	for name, e := range external {
		flags := strings.Fields(e.flags)
		all = append(all, named{name, grammar{commands: strings.Fields(e.commands), flags: func(string) []string { return flags }}})
	}
	return all
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
func checkCommand(known []named, command string) error {
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
	i := slices.IndexFunc(known, func(g named) bool { return g.name == words[0] })
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

// isOption says whether there is an option, where names of secrets and templates are any. One may lead into what an option has,
// as a package does.
func isOption(options map[string]option, name string) bool {
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
