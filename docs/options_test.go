package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// option is what a file of the module says of an option, or what the reference does.
type option struct {
	name, kind, fallback, description string
}

const optionsPage = "reference/options.md"

// submodules are the names of options that a file declares in a submodule, and the words that differ between them.
var submodules = map[string][]struct {
	prefix string
	words  *strings.Replacer
}{
	"secrets.nix":   {{"sops.secrets.<name>", strings.NewReplacer()}},
	"templates.nix": {{"sops.templates.<name>", strings.NewReplacer()}},
	"secret-type.nix": {
		{"sops.secrets.<name>", strings.NewReplacer("${noun}", "secret", "${directory}", "")},
		{"sops.templates.<name>", strings.NewReplacer("${noun}", "rendered template", "${directory}", "/rendered")},
	},
}

var (
	openSet     = regexp.MustCompile(`^( *)(?:([A-Za-z.]+) = (?:mkOption )?)?\{$`)
	declaration = regexp.MustCompile(`^ *[A-Za-z.]+ = mkOption \{$`)
	role        = regexp.MustCompile("\\{(?:command|env|file|option|var)\\}`")
)

// declared finds the options that a file of the module declares. It needs the layout that nixfmt gives: a set begins at the end of
// a line and ends at the indentation of that line.
func declared(t *testing.T, path string) []option {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type level struct{ indent, name string }
	var all []option
	var stack []level
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		for len(stack) > 0 && strings.HasPrefix(line, stack[len(stack)-1].indent+"}") {
			stack = stack[:len(stack)-1]
		}
		m := openSet.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		stack = append(stack, level{m[1], m[2]})
		if !declaration.MatchString(line) {
			continue
		}
		end := i + slices.Index(lines[i:], m[1]+"};")
		if end < i {
			t.Fatalf("%s:%d: the option does not end", path, i+1)
		}
		body := strings.Join(lines[i+1:end], "\n") + "\n"
		if strings.Contains(body, " internal = true;") || strings.Contains(body, " visible = false;") {
			continue
		}
		var names []string
		for _, l := range stack {
			if l.name == "options" || strings.HasPrefix(l.name, "options.") {
				names = nil
			}
			if l.name != "" {
				names = append(names, l.name)
			}
		}
		o := option{
			name: strings.TrimPrefix(strings.Join(names, "."), "options."), kind: attribute(body, m[1], "type"),
			description: text(attribute(body, m[1], "description")),
		}
		if !strings.Contains(body, m[1]+"  defaultText = ") {
			o.fallback = attribute(body, m[1], "default")
		}
		if strings.HasPrefix(o.name, "sops.") {
			all = append(all, o)
			continue
		}
		for _, s := range submodules[filepath.Base(path)] {
			in := o
			in.name, in.description = s.prefix+"."+o.name, s.words.Replace(o.description)
			all = append(all, in)
		}
	}
	return all
}

// attribute is the source of an attribute of a set that is indented by indent.
func attribute(body, indent, name string) string {
	begin := indent + "  " + name + " ="
	_, rest, found := strings.Cut("\n"+body, "\n"+begin)
	if !found {
		return ""
	}
	// The value goes on while lines are indented further, or up to the line that closes what the first one opens.
	var value []string
	for i, line := range strings.Split(rest, "\n") {
		if i > 0 && line != "" && !strings.HasPrefix(line, indent+"   ") {
			if closing := strings.TrimPrefix(line, indent+"  "); strings.ContainsAny(closing[:1], "}])'") {
				value = append(value, closing)
			}
			break
		}
		value = append(value, line)
	}
	return strings.TrimSuffix(strings.TrimSpace(strings.Join(value, "\n")), ";")
}

// text is the text of a string of Nix, without roles, as one line.
func text(source string) string {
	switch {
	case strings.HasPrefix(source, "''"):
		source = strings.TrimSuffix(strings.TrimPrefix(source, "''"), "''")
	default:
		source = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.Trim(source, `"`))
	}
	return strings.Join(strings.Fields(role.ReplaceAllString(source, "`")), " ")
}

// documented reads the reference.
func documented(t *testing.T) map[string]option {
	t.Helper()
	data, err := os.ReadFile(optionsPage)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]option{}
	for _, part := range strings.Split(string(data), "\n## `")[1:] {
		name, rest, _ := strings.Cut(part, "`\n")
		description, facts, _ := strings.Cut("\n"+rest, "\n* type: ")
		o := option{name: name, description: strings.Join(strings.Fields(description), " ")}
		o.kind, facts, _ = strings.Cut(facts, "\n")
		if _, fallback, ok := strings.Cut("\n"+facts, "\n* default: `"); ok {
			o.fallback, _, _ = strings.Cut(fallback, "`\n")
		}
		all[name] = o
	}
	return all
}

// kinds are the types whose descriptions this test knows.
var kinds = map[string]string{
	"types.bool": "boolean", "types.str": "string", "types.path": "absolute path", "types.package": "package", "types.lines": `strings concatenated with "\n"`,
	"types.listOf types.package": "list of package", "types.listOf types.str": "list of string", "types.listOf types.path": "list of absolute path",
	"types.nullOr types.str": "null or string", "types.ints.unsigned": "unsigned integer, meaning >=0",
	"types.ints.between 1 86400": "integer between 1 and 86400 (both inclusive)", "types.nullOr types.singleLineStr": "null or (optionally newline-terminated) single-line string",
}

// TestOptions compares the options reference with the sources of the module. Only an evaluation knows everything; what is found here
// without one is an option that came, went, or has another description, a simple type or a simple default that changed.
func TestOptions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../nixos/*.nix")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files in nixos: %v", len(files), err)
	}
	pages := documented(t)
	const mend = "set NIXPKGS_LIB and run nixos/tests/eval/run --update"
	types, fallbacks, found := 0, 0, map[string]bool{}
	literal := regexp.MustCompile(`^(?:true|false|null|\d+|"[^"$]*"|\[ \]|\{ \})$`)
	for _, file := range files {
		for _, o := range declared(t, file) {
			found[o.name] = true
			page, ok := pages[o.name]
			if !ok {
				t.Errorf("%s: %s: not in %s; %s", file, o.name, optionsPage, mend)
				continue
			}
			if o.description == "" || o.description != page.description {
				t.Errorf("%s: %s: the description is %q, in the reference %q; %s", file, o.name, o.description, page.description, mend)
			}
			if kind := kinds[o.kind]; kind != "" {
				types++
				if kind != page.kind {
					t.Errorf("%s: %s: the type is %s, in the reference %q; %s", file, o.name, o.kind, page.kind, mend)
				}
			}
			if literal.MatchString(o.fallback) {
				fallbacks++
				if o.fallback != page.fallback {
					t.Errorf("%s: %s: the default is %s, in the reference %q; %s", file, o.name, o.fallback, page.fallback, mend)
				}
			}
		}
	}
	for name := range pages {
		if !found[name] {
			t.Errorf("%s: %s: the module has no such option; %s", optionsPage, name, mend)
		}
	}
	if len(found) < 60 || types < 30 || fallbacks < 30 {
		t.Errorf("%d options found in nixos, %d of them with a type and %d with a default that can be compared: this test reads them wrongly", len(found), types, fallbacks)
	}
}

// TestOptions_used looks for options that examples and pages set and the module does not have. The evaluation of examples finds
// more, where there is a nixpkgs.
func TestOptions_used(t *testing.T) {
	t.Parallel()
	options := documented(t)
	files, err := filepath.Glob("examples/*.nix")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"examples/*/*.nix", "how-to/*.md", "*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	set := regexp.MustCompile(`(?m)(?:^|[{;])\s*(sops\.(?:[A-Za-z]+|"[^"]+"|[A-Za-z]+-[a-z-]+)(?:\.(?:[A-Za-z][\w-]*|"[^"]+"))*) = (\{?)`)
	inside := regexp.MustCompile(`(?m)^\s*([a-zA-Z.]+) = `)
	count := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`(?s)''.*?''`).ReplaceAllString(string(data), `""`) // without long strings
		for _, m := range set.FindAllStringSubmatchIndex(text, -1) {
			name := text[m[2]:m[3]]
			count++
			if !isOption(options, name) {
				t.Errorf("%s: %s: no such option", file, name)
			}
			if text[m[4]:m[5]] == "" { // not a set
				continue
			}
			body, _, _ := strings.Cut(text[m[5]:], "};")
			for _, attribute := range inside.FindAllStringSubmatch(body, -1) {
				count++
				if !isOption(options, name+"."+attribute[1]) {
					t.Errorf("%s: %s.%s: no such option", file, name, attribute[1])
				}
			}
		}
	}
	if count < 80 {
		t.Errorf("%d options found: this test reads the files wrongly", count)
	}
}
