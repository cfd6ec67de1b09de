package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// optionsPages are those of the NixOS module and of home-manager's.
var optionsPages = []string{"reference/options.md", "reference/home-options.md"}

// documented has the options of the reference.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, page := range optionsPages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\n## `")[1:] {
			name, _, _ := strings.Cut(part, "`\n")
			all[name] = true
		}
	}
	return all
}

// TestOptions_used looks for options that examples and pages set and the module does not have. The
// evaluation of examples finds more, where there is a nixpkgs.
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
