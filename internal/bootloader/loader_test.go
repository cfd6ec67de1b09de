package bootloader

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The module's option lists what install-loader supports, and describes those that it cannot
// detect.
func TestSupported_moduleListsTheSame(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../nixos/loader.nix")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n  forms = {\n")
	forms, _, _ := strings.Cut(rest, "\n  };\n")
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z-]+) =`).FindAllStringSubmatch(forms, -1) {
		listed = append(listed, m[1])
	}
	want := slices.Sorted(slices.Values(Supported()))
	if d := cmp.Diff(want, slices.Sorted(slices.Values(listed))); d != "" {
		t.Errorf("sops.initrd.loader, -want +got:\n%s", d)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	help := Forms()
	for _, l := range table() {
		if l.finish != nil && (l.form == "" || !strings.Contains(help, "\n  "+string(l.kind)+" ") && !strings.HasPrefix(help, "  "+string(l.kind)+" ")) {
			t.Errorf("%s: not in the help", l.kind)
		}
		if (l.finish == nil) != (l.nothing != "") {
			t.Errorf("%s: must say why there is nothing to do, or do it", l.kind)
		}
		if (l.read == nil) != (len(l.files) == 0) {
			t.Errorf("%s: files that are not read, or none to read", l.kind)
		}
		if (l.name == nil) != (l.rename == nil) {
			t.Errorf("%s: names initrds by half", l.kind)
		}
	}
}
