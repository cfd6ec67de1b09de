package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"no backend", "backends:\n  postgres: []\n", ""},
		{"postgres", "backends:\n  postgres:\n    - connection_string: postgres://sops@localhost/sops\n", "use the full build"},
		{"malformed", "backends: [", "read "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := check(path)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q with the path in it", err, c.want)
			}
		})
	}
	if err := check(filepath.Join(t.TempDir(), "missing")); err != nil {
		t.Errorf("no file: %v", err)
	}
}
