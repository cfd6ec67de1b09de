package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

// TestManualPages has every source of a manual page turned into one by the program that packages
// use, and wants every program to have one that the documentation links to. The pages of
// sops-initrd are made by itself and tested there.
func TestManualPages(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob("../cmd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		name := filepath.Base(program)
		path := "man/" + name + ".1.md"
		if name == "sops-initrd" {
			path = "reference/sops-initrd.md"
		}
		if !strings.Contains(string(index), "]("+path+")") {
			t.Errorf("README.md has no link to %s", path)
		}
		if name == "sops-initrd" {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(md2man.Render(source))
		if !strings.Contains(page, "\n.TH "+strings.ToUpper(name)+" 1\n") {
			t.Errorf("%s: no title in the manual page: %.80q", path, page)
		}
		for line := range strings.Lines(string(source)) {
			if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok && !strings.Contains(page, "\n.SH "+heading+"\n") {
				t.Errorf("%s: the manual page has no section %q", path, heading)
			}
		}
		// Options are definitions: a term, and what it means.
		if want, got := strings.Count(string(source), "\n: "), strings.Count(page, "\n.TP\n"); got != want {
			t.Errorf("%s: %d definitions, %d in the manual page", path, want, got)
		}
	}
}
