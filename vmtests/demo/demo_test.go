package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The demo checks all that it shows; here it has to come to its end.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: without -short kernels boot")
	}
	kernel, err := vm.FindKernel()
	if err == nil {
		err = kernel.Available()
	}
	for _, program := range []string{"busybox", "cryptsetup", "mkfs.ext4", "ssh-keygen", "zstd"} {
		if err == nil {
			_, err = exec.LookPath(program)
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("VMTESTS_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Chdir("../..")
	var out strings.Builder
	if err := run(t.Context(), &out, t.TempDir(), false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
}
