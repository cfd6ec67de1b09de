package initrd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program of another module imports the package, installs, verifies and removes.
func TestImport_by_another_module(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const name = "github.com/sops-initrd/sops-initrd"
	dir := t.TempDir()
	for file, text := range map[string]string{
		// The same versions, so that nothing has to be downloaded.
		"go.mod": strings.Replace(string(mod), "module "+name, "module example.org/outside", 1) +
			"\nrequire " + name + " v0.0.0\nreplace " + name + " => " + root + "\n",
		"go.sum":  string(sums),
		"main.go": outsideProgram,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if want := "created\nwhole: <nil>\nremoved\nuntouched\n"; err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

const outsideProgram = `package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sops-initrd/sops-initrd/initrd"
)

func main() {
	ctx := context.Background()
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/etc/key", Mode: 0o400, Data: []byte("k")}},
		initrd.Digest{1}, initrd.Profile{})
	if err != nil {
		log.Fatal(err)
	}
	installed, err := initrd.Install(ctx, "image", segment, initrd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(installed.Action)
	image, err := initrd.Open("image")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("whole:", image.Verify(ctx, &initrd.Digest{1}))
	if err := image.Close(); err != nil {
		log.Fatal(err)
	}
	removed, err := initrd.Remove(ctx, "image", initrd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(removed.Action)
	_, err = initrd.Install(ctx, "missing/image", segment, initrd.Options{})
	var failed *initrd.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.State)
	}
}
`
