package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccounts_unknown: whether a file of accounts is missing, empty or has others, an account
// that does not exist is told in the same words.
func TestAccounts_unknown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "others": "root:x:0:0::/root:/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"missing", "empty", "others"} {
		for _, name := range []string{"nobody-has-this-name", "", "-s", "a:b", "a\nb"} {
			a := accounts{kind: "user", file: filepath.Join(dir, file), database: "passwd"}
			if _, err := a.lookUp(t.Context(), name); err == nil || !strings.HasPrefix(err.Error(), "unknown user ") {
				t.Errorf("%s, %q: %v", file, name, err)
			}
		}
	}
	a := accounts{kind: "user", file: dir, database: "passwd"}
	if _, err := a.lookUp(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), `look up user "x": read `) {
		t.Errorf("an unreadable file: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	text := "root:x:0:0::/root:/bin/sh\nbig:x:4294967294:1::/:\nbig:x:5:1::/:\nbad:x:-1:1::/:\nshort:x\n\n# c\nlast:x:7:7::/:/bin/sh"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := accounts{kind: "user", file: file, database: "passwd"}
	for name, want := range map[string]uint32{"root": 0, "big": 4294967294, "last": 7} {
		if id, err := a.lookUp(t.Context(), name); err != nil || id != want {
			t.Errorf("%s: %d, %v", name, id, err)
		}
	}
	for _, name := range []string{"bad", "short", "# c"} {
		if _, err := a.lookUp(t.Context(), name); err == nil {
			t.Errorf("%s was found", name)
		}
	}
}

// TestAccounts_getent: who is not in the file is asked for with getent, which a signal ends.
func TestAccounts_getent(t *testing.T) { // not parallel: PATH is that of the process
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = 'passwd slow' ] && exec sleep 60\n[ \"$*\" = 'passwd ldap' ] && echo ldap:x:70000:1::/: && exit\nexit 2\n"
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	a := accounts{kind: "user", file: filepath.Join(dir, "none"), database: "passwd"}
	if id, err := a.lookUp(t.Context(), "ldap"); err != nil || id != 70000 {
		t.Errorf("%d, %v", id, err)
	}
	if _, err := a.lookUp(t.Context(), "other"); err == nil || err.Error() != `unknown user "other"` {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.lookUp(ctx, "slow"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestIDMap(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(file, []byte("         0     100000      65536\n     70000       1000          1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := idMap{kind: "user", file: file}
	for id, want := range map[uint32]bool{0: true, 65535: true, 65536: false, 70000: true, 70001: false, 4294967294: false} {
		if err := m.has(id); (err == nil) != want {
			t.Errorf("%d: %v", id, err)
		}
	}
	for _, c := range []idMap{{file: "/no/such/file"}, {file: "/proc/self/uid_map"}} {
		if err := c.has(0); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}
