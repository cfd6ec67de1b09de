package resolve_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// The part of a request is found in the very text that is rendered.
func TestOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("<b>"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := resolve.Request{
		Secrets: []manifest.Source{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "ab"}},
		Templates: []manifest.Text{
			{Name: "content", Content: "<a>"},
			{Name: "file", File: file},
			{Name: "none", File: "/no/such/file"},
			{Name: "both", Content: "<a>", File: file},
			{Name: "longer", Content: "<a><b>"},
			{Name: "empty"},
		},
		Placeholders: map[string]string{"a": "<a>", "b": "<b>", "c": "", "ab": "<a><b>", "gone": "<gone>"},
	}
	for _, c := range []struct{ secret, template, want string }{
		{"", "", "[]"},
		{"c", "", "[c]"},
		{"", "content", "[a]"},
		{"c", "file", "[b c]"},
		{"", "both", "[a]"}, // the reference's module always writes both
		{"", "longer", "[ab]"},
		{"", "empty", "[]"},
		{"b", "none", "[b]"},
	} {
		part := all.Only(map[string]bool{c.secret: true}, map[string]bool{c.template: true})
		var names []string
		for _, s := range part.Secrets {
			names = append(names, s.Name)
		}
		if got := fmt.Sprint(names); got != c.want {
			t.Errorf("secret %q and template %q need %s, want %s", c.secret, c.template, got, c.want)
		}
		if wanted := c.template != ""; len(part.Templates) == 1 != wanted {
			t.Errorf("template %q: %v", c.template, part.Templates)
		}
	}
	part := all.Only(nil, map[string]bool{"none": true})
	if err := resolve.Run(context.Background(), part).Err(); err == nil {
		t.Error("a text that cannot be read has no fault")
	}
}
