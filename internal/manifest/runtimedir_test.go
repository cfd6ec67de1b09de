package manifest

import (
	"errors"
	"testing"
)

func TestExpandRuntimeDir(t *testing.T) {
	t.Parallel()
	fault := errors.New("no such directory")
	for _, c := range []struct {
		path, want string
		err        error
	}{
		{"%r/secrets", "/run/user/1000/secrets", nil},
		{"/home/x/100%%r", "/home/x/100%r", nil},
		{"/home/x", "/home/x", fault}, // nobody asks
		{"%r/secrets", "", fault},
	} {
		m := Manifest{UserMode: true, SymlinkPath: c.path}
		err := m.ExpandRuntimeDir(func() (string, error) { return "/run/user/1000", c.err })
		switch {
		case c.want == "" && !errors.Is(err, fault):
			t.Errorf("%+v: error %v", c, err)
		case c.want != "" && (err != nil || m.SymlinkPath != c.want):
			t.Errorf("%+v: %q, %v", c, m.SymlinkPath, err)
		}
	}
}
