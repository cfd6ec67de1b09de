package vmtests

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// torn boots an image that ends in the middle of a file: the kernel gives the file its full size,
// and stage 1 must neither use it nor miss the files before it.
func (h nixosHost) torn(t *testing.T, kernel vm.Kernel, image, last string) {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data, []byte(last))
	if at < 0 {
		t.Fatal("the image does not hold the key")
	}
	rep := boot(t, vm.Machine{
		Kernel: kernel, Initrd: writeImage(t, data[:at+len(last)/2]),
		Memory: 512, Append: "quiet",
	})
	for name, want := range map[string]string{
		"stage1:/run/secrets/luks":                 "missing",
		"stage1:/.initrd-secrets/run/secrets/luks": "missing",
		"stage1:/etc/iscsi/chap": regular(0o600, 0, 0,
			[]byte("another module's file\n")),
		"disk": "not opened",
	} {
		if got := rep.Results[name].Detail; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, line := range []string{
		"sops-initrd: /.initrd-secrets/run/secrets/luks was damaged and is removed",
		"sops-initrd: /run/secrets/luks is missing",
	} {
		if !strings.Contains(rep.Console, line) {
			t.Errorf("the console does not say %q", line)
		}
	}
}

// halted boots an image that was being overwritten in place when the power failed: no secret is
// there, and stage 1 says why.
func (h nixosHost) halted(t *testing.T, kernel vm.Kernel, image string) {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	// Package initrd puts its own files first and sets the two highest digits of the first one's size
	// meanwhile.
	const header, size = 110, 54
	name := bytes.LastIndex(data, []byte(".sops-initrd-begin\x00"))
	if name < header {
		t.Fatal("the image has no segment")
	}
	copy(data[name-header+size:], "01")
	rep := boot(t, vm.Machine{
		Kernel: kernel, Initrd: writeImage(t, data), Memory: 512,
		Append: "quiet",
	})
	for _, name := range []string{"stage1:/run/secrets/luks", "stage1:/etc/iscsi/chap"} {
		if got := rep.Results[name].Detail; got != "missing" {
			t.Errorf("%s: %q", name, got)
		}
	}
	const line = "sops-initrd: the secrets of this image were not installed to the end"
	if !strings.Contains(rep.Console, line) {
		t.Errorf("the console does not say %q", line)
	}
}
