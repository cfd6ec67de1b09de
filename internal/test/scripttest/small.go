package scripttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Place copies a program of Main to where it would be installed, and returns its path and that of
// the full program that a small one looks for, which is not there.
func Place(t testing.TB, name string) (program, full string) {
	t.Helper()
	self, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, full = filepath.Join(dir, "bin", name), filepath.Join(dir, "libexec", "sops-initrd", name)
	for _, path := range []string{program, full} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	Copy(t, self, program)
	return program, full
}

// Copy copies a program.
func Copy(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BuildFull builds the full program of a command, with all that sops links.
func BuildFull(t testing.TB, path string) {
	t.Helper()
	build := exec.Command("go", "build", "-o", path,
		"github.com/sops-initrd/sops-initrd/cmd/"+filepath.Base(path))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", path, err, out)
	}
}
