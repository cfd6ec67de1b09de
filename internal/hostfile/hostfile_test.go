package hostfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		dir, file      os.FileMode
		want, needOpen bool
	}{
		{"file of its owner", 0o755, 0o600, false, false},
		{"file of all", 0o755, 0o644, true, true},
		{"file of the group", 0o755, 0o640, true, true},
		{"executable is not readable", 0o755, 0o711, false, false},
		{"behind a closed directory", 0o700, 0o644, false, false},
		{"file of the group behind a directory for others only", 0o705, 0o640, false, false},
		{"directory can be searched but not listed", 0o711, 0o644, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "d")
			name := filepath.Join(dir, "image")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for file, mode := range map[string]os.FileMode{name: c.file, dir: c.dir} {
				if err := os.Chmod(file, mode); err != nil {
					t.Fatal(err)
				}
			}
			open := openToAll(t, filepath.Dir(dir))
			got, err := Readable(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != (c.want && open) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// openToAll says whether everybody can pass dir; where temporary directories are private, nothing
// below can be readable.
func openToAll(t *testing.T, dir string) bool {
	t.Helper()
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o011 != 0o011 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

func TestReplacers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	for _, c := range []struct {
		name        string
		above, here os.FileMode
		owner       int // of the directory above
		want        string
	}{
		{"nobody", 0o755, 0o755, 0, ""},
		{"all", 0o755, 0o757, 0, "can be written by others (mode 0757)"},
		{"the group", 0o755, 0o775, 0, "can be written by others (mode 0775)"},
		{"all, above", 0o777, 0o755, 0, "can be written by others (mode 0777)"},
		{"sticky above", os.ModeSticky | 0o777, 0o755, 0, ""},
		{"sticky", 0o755, os.ModeSticky | 0o777, 0, "can be written by others (mode 1777)"},
		{"owner above", 0o755, 0o755, 12, "belongs to user 12"},
		{"owner of a sticky directory", os.ModeSticky | 0o777, 0o755, 12, "belongs to user 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			above := filepath.Join(t.TempDir(), "above")
			here := filepath.Join(above, "here")
			for _, err := range []error{
				os.Mkdir(above, 0o700), os.Mkdir(here, 0o700), os.Chmod(here, c.here), os.Chmod(above, c.above), os.Chown(above, c.owner, 0),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if who, err := Replacers(here); err != nil || !strings.HasSuffix(who, c.want) || (who == "") != (c.want == "") {
				t.Errorf("%q, %v, want %q", who, err, c.want)
			}
		})
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	if got := Closing("/boot", "/boot/x", false); got != "chmod go= /boot/x" {
		t.Error(got)
	}
	if got := Closing("/proc/sys", "/proc/sys/x", true); got != "mount /proc with the option umask=0077" {
		t.Error(got)
	}
}

func TestMode(t *testing.T) {
	t.Parallel()
	for bits, text := range map[uint32]string{0: "0000", 0o644: "0644", 0o7777: "7777", 0o4711: "4711", 0o1777: "1777", 0o2050: "2050"} {
		if m := Mode(bits); Bits(m) != bits || Octal(m) != text {
			t.Errorf("%v: %o, %s, want %s", m, Bits(m), Octal(m), text)
		}
	}
}
