package initrdsecrets

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadableByOthers(t *testing.T) {
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
			got, err := ReadableByOthers(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != (c.want && open) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// openToAll says whether everybody can pass dir; where temporary directories are private, nothing below can be readable.
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

func TestReadableAdvice_namesTheMountOption(t *testing.T) {
	t.Parallel()
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
23 22 8:2 / /boot rw,relatime - vfat /dev/sda1 rw,fmask=0022,dmask=0022
24 22 0:30 / /boo rw - tmpfs none rw
25 22 8:3 / /mnt/a\040b rw shared:7 master:1 - exfat /dev/sdb1 rw
`
	for _, c := range []struct{ image, point, hint string }{
		{"/boot/EFI/nixos/x.efi", "/boot", "mount /boot with umask=0077 (fileSystems.\"/boot\".options = [ \"umask=0077\" ])"},
		{"/mnt/a b/x", "/mnt/a b", "mount /mnt/a b with umask=0077"},
		{"/bootx/y", "/", "chmod go= /bootx/y"},
		{"/boo/y", "/boo", "chmod go= /boo/y"},
	} {
		m := mountOf(bufio.NewScanner(strings.NewReader(table)), c.image)
		if m.point != c.point {
			t.Errorf("%s: mounted at %q, want %q", c.image, m.point, c.point)
		}
		if _, hint := readableAdvice(c.image, m); !strings.HasPrefix(hint, c.hint) {
			t.Errorf("%s: advice %q, want %q", c.image, hint, c.hint)
		}
	}
}
