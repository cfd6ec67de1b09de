package manifest

import (
	"strings"
	"testing"
)

func TestExpandRuntimeDir(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dir, path, want, err string }{
		{"/run/user/1000", "%r/secrets", "/run/user/1000/secrets", ""},
		{"/run/user/1000/", "%r/secrets", "/run/user/1000/secrets", ""},
		{"/run/user/1000", "/home/x/100%%r", "/home/x/100%r", ""},
		{"", "/home/x", "/home/x", ""},
		{"", "%r/secrets", "", "XDG_RUNTIME_DIR is not set"},
		{"run", "%r/secrets", "", `XDG_RUNTIME_DIR: "run" is not an absolute path`},
	} {
		e := expander{dir: c.dir}
		got := c.path
		e.expand(&got)
		switch {
		case c.err != "" && (e.err == nil || !strings.Contains(e.err.Error(), c.err)):
			t.Errorf("%+v: error %v", c, e.err)
		case c.err == "" && (e.err != nil || got != c.want):
			t.Errorf("%+v: %q, %v", c, got, e.err)
		}
	}
}
