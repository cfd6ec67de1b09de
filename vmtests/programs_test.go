package vmtests

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// built are the programs of this repository, built once for all tests that run them.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vmtests")
	if err != nil {
		return "", err
	}
	builtIn = dir
	_, err = vm.Output(exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/",
		"../cmd/sops-initrd", "../cmd/sops-install-secrets"))
	return dir, err
})

// builtIn is what TestMain removes.
var builtIn string

func TestMain(m *testing.M) {
	status := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(status)
}

// guestProgram builds a program of testdata, without libraries.
func guestProgram(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	return file
}

// program is the path of one of them.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
