package vmtests

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"sops-initrd/vmtests/vm"
)

// The tests of this file do not test this project. They pin what the format in package initrd stands on: how kernels unpack
// an image that consists of several archives (linux/init/initramfs.c). One that fails on a new kernel says which of our rules
// has to be thought about again.

const lost = "Initramfs unpacking failed"

// secretFile is a deterministic content with no run of NULs in it.
func secretFile(size int) []byte {
	data := bytes.Repeat([]byte("premise!"), size/8+1)
	return data[:size]
}

func TestKernelUnpacksSegments_inOrder(t *testing.T) {
	k := testKernel(t)
	root := busyboxRoot("describe /replaced /shorter /orphan/file /dir/kept /linked /linked/file /target /target/file /dir /middle /last /rootmode")
	root.File("/replaced", 0o644, []byte("base"))
	root.File("/shorter", 0o644, bytes.Repeat([]byte("long"), 1000))
	root.File("/dir/kept", 0o600, []byte("kept"))
	root.File("/target/file", 0o644, []byte("below the link"))
	root.Link("/linked", "target")
	first := newc(t,
		cpio.StaticFile("replaced", "segment", 0o400),
		cpio.StaticFile("shorter", "s", 0o400),
		cpio.StaticFile("orphan/file", "x", 0o400),
		cpio.Directory("dir", 0o711),
		cpio.Directory("linked", 0o700),
		cpio.StaticFile("/last", "first", 0o400),
	)
	second := newc(t, cpio.StaticFile("./last", "second", 0o440))
	compressed := compress(t, "gzip", newc(t, cpio.StaticFile("middle", "compressed", 0o400)))

	base := pad(compress(t, "zstd", archive(t, root)), 4)
	image := writeImage(t, base, first, pad(compressed, 4), make([]byte, 512), second)
	rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
	wantConsole(t, rep, lost, false)
	expect(t, rep, map[string]string{
		"/replaced":    regular(0o400, 0, 0, []byte("segment")),
		"/shorter":     regular(0o400, 0, 0, []byte("s")),
		"/last":        regular(0o440, 0, 0, []byte("second")),
		"/middle":      regular(0o400, 0, 0, []byte("compressed")),
		"/orphan/file": "missing", // no entry for its parent
		"/dir":         "dir 711 0 0",
		"/dir/kept":    regular(0o600, 0, 0, []byte("kept")),
		"/linked":      "dir 700 0 0", // a directory entry replaces a symlink
		"/linked/file": "missing",
		"/target/file": regular(0o644, 0, 0, []byte("below the link")),
	})
}

func TestKernelUnpacksSegments_onlyOnFourByteBoundary(t *testing.T) {
	k := testKernel(t)
	base := pad(compress(t, "zstd", archive(t, busyboxRoot("describe /secret"))), 4)
	segment := newc(t, cpio.StaticFile("secret", "value", 0o400))
	shifts := []int{1}
	if long() {
		shifts = []int{1, 2, 3}
	}
	for _, shift := range shifts {
		t.Run(fmt.Sprintf("shifted by %d", shift), func(t *testing.T) {
			rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, make([]byte, shift), segment)})
			wantConsole(t, rep, lost, true)
			expect(t, rep, map[string]string{"/secret": "missing"})
		})
	}
}

// The kernel's decoder of the legacy lz4 format takes the four bytes behind its last block for the next block's size: NULs
// end it, a newc header does not.
func TestKernelUnpacksSegments_behindLZ4NeedsFourNULs(t *testing.T) {
	k := testKernel(t)
	base := compress(t, "lz4", archive(t, busyboxRoot("describe /secret")))
	// Bytes behind the end mark do not change how lz4 ends; here the alignment is made by the base itself.
	for len(base)%4 != 0 {
		root := busyboxRoot("describe /secret")
		root.File("/filler", 0o644, secretFile(len(base)%97+1))
		base = compress(t, "lz4", archive(t, root))
	}
	segment := newc(t, cpio.StaticFile("secret", "value", 0o400))
	t.Run("directly appended", func(t *testing.T) {
		rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, segment)})
		expect(t, rep, map[string]string{"/secret": "missing"})
		wantConsole(t, rep, "Decoding failed", true)
	})
	if !long() {
		return
	}
	t.Run("behind four NULs", func(t *testing.T) {
		rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, make([]byte, 4), segment)})
		expect(t, rep, map[string]string{"/secret": regular(0o400, 0, 0, []byte("value"))})
	})
}

// The dangerous case, for which there is a footer: nothing on the console, the file has its full size, its end is NULs, and
// what is appended behind it is swallowed.
func TestKernelUnpacksSegments_tornSilently(t *testing.T) {
	k := testKernel(t)
	base := pad(compress(t, "zstd", archive(t, busyboxRoot("describe /first /torn /behind"))), 4)
	data := secretFile(300_000)
	segment := newc(t, cpio.StaticFile("first", "whole", 0o400), cpio.StaticFile("torn", string(data), 0o400))
	cut := len(segment) / 2 / 4 * 4
	present := cut - (len(segment) - 300_000 - len(newc(t)))
	want := append(bytes.Clone(data[:present]), make([]byte, len(data)-present)...)

	rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, segment[:cut])})
	wantConsole(t, rep, lost, false)
	expect(t, rep, map[string]string{
		"/first": regular(0o400, 0, 0, []byte("whole")),
		"/torn":  regular(0o400, 0, 0, want),
	})

	t.Run("what is appended behind it is lost", func(t *testing.T) {
		behind := newc(t, cpio.StaticFile("behind", "lost", 0o400))
		rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, segment[:cut], behind)})
		expect(t, rep, map[string]string{"/behind": "missing"})
	})
}
