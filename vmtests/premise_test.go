package vmtests

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file do not test this project. They pin what the format in package initrd
// stands on: how kernels unpack an image that consists of several archives
// (linux/init/initramfs.c). One that fails on a new kernel says which of our rules has to be
// thought about again.

const lost = "Initramfs unpacking failed"

// secretFile is a deterministic content with no run of NULs in it.
func secretFile(size int) []byte {
	data := bytes.Repeat([]byte("premise!"), size/8+1)
	return data[:size]
}

func TestKernelUnpacksSegments_inOrder(t *testing.T) {
	onKernels(t, func(t *testing.T, k vm.Kernel, _ bool) { segmentsInOrder(t, k) })
}

func segmentsInOrder(t *testing.T, k vm.Kernel) {
	root := guestRoot(k,
		"describe /before /after /emptied /replaced /shorter /orphan/file /dir/kept /linked "+
			"/linked/file /target /target/file /dir /middle /last /rootmode")
	root.File("/replaced", 0o644, []byte("base"))
	root.File("/shorter", 0o644, bytes.Repeat([]byte("long"), 1000))
	root.File("/emptied", 0o644, []byte("full"))
	root.File("/dir/kept", 0o600, []byte("kept"))
	root.File("/target/file", 0o644, []byte("below the link"))
	root.Link("/linked", "target")
	before := newc(t, cpio.StaticFile("before", "in front of the base", 0o400))
	first := newc(t,
		cpio.StaticFile("replaced", "segment", 0o400),
		cpio.StaticFile("emptied", "", 0o400),
		cpio.StaticFile("shorter", "s", 0o400),
		cpio.StaticFile("orphan/file", "x", 0o400),
		cpio.Directory("dir", 0o711),
		cpio.Directory("linked", 0o700),
		cpio.StaticFile("/last", "first", 0o400),
	)
	first = first[:len(first)-len(newc(t))] // an earlier segment needs no trailer
	second := newc(t, cpio.StaticFile("./last", "second", 0o440))
	compressed := compress(t, "gzip", newc(t, cpio.StaticFile("middle", "compressed", 0o400)))
	compressed = append(pad(compressed, 4),
		compress(t, "zstd", newc(t, cpio.StaticFile("after", "compressed too", 0o400)))...)

	base := pad(compress(t, "zstd", archive(t, root)), 4)
	image := writeImage(t, pad(before, 4), base, first, pad(compressed, 4), make([]byte, 512), second)
	rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
	wantConsole(t, rep, lost, false)
	expect(t, rep, map[string]string{
		"/replaced":    regular(0o400, 0, 0, []byte("segment")),
		"/shorter":     regular(0o400, 0, 0, []byte("s")),
		"/last":        regular(0o440, 0, 0, []byte("second")),
		"/before":      regular(0o400, 0, 0, []byte("in front of the base")),
		"/emptied":     regular(0o400, 0, 0, nil),
		"/middle":      regular(0o400, 0, 0, []byte("compressed")),
		"/after":       regular(0o400, 0, 0, []byte("compressed too")),
		"/orphan/file": "missing", // no entry for its parent
		"/dir":         "dir 711 0 0",
		"/dir/kept":    regular(0o600, 0, 0, []byte("kept")),
		"/linked":      "dir 700 0 0", // a directory entry replaces a symlink
		"/linked/file": "missing",
		"/target/file": regular(0o644, 0, 0, []byte("below the link")),
	})
}

// A segment anywhere but on a boundary of four bytes is lost. The boot goes on.
func TestKernelUnpacksSegments_onlyOnFourByteBoundary(t *testing.T) {
	onKernels(t, func(t *testing.T, k vm.Kernel, all bool) {
		onlyIf(t, all)
		segment := newc(t, cpio.StaticFile("secret", "value", 0o400))
		behind := func(compressor string, shift int, says string) {
			t.Run(fmt.Sprintf("%d bytes behind %s", shift, compressor), func(t *testing.T) {
				base := pad(compress(t, compressor, archive(t, guestRoot(k, "describe /secret"))), 4)
				rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, make([]byte, shift), segment)})
				wantConsole(t, rep, lost+": "+says, true)
				expect(t, rep, map[string]string{"/secret": "missing"})
			})
		}
		behind("zstd", 1, "invalid magic at start of compressed archive")
		if long() {
			behind("zstd", 2, "invalid magic at start of compressed archive")
			behind("gzip", 3, "invalid magic at start of compressed archive")
			behind("none", 1, "broken padding")
		}
	})
}

// The kernel's decoder of the legacy lz4 format takes the four bytes behind its last block for the
// next block's size: NULs end it, a newc header does not. The other format of lz4 it does not know.
func TestKernelUnpacksSegments_behindLZ4NeedsFourNULs(t *testing.T) {
	onKernels(t, func(t *testing.T, k vm.Kernel, all bool) {
		onlyIf(t, all)
		lz4Needs(t, k)
	})
}

func lz4Needs(t *testing.T, k vm.Kernel) {
	base := compress(t, "lz4", archive(t, guestRoot(k, "describe /secret")))
	// Bytes behind the end mark do not change how lz4 ends; here the alignment is made by the base
	// itself.
	for i := 1; len(base)%4 != 0; i++ {
		root := guestRoot(k, "describe /secret")
		root.File("/filler", 0o644, secretFile(i))
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
	t.Run("frame format", func(t *testing.T) {
		need(t, "lz4")
		file := writeImage(t, archive(t, guestRoot(k, "describe /secret")))
		rep := boot(t,
			vm.Machine{Kernel: k, Initrd: writeImage(t, run(t, exec.Command("lz4", "-q", "-c", file)))})
		wantConsole(t, rep, "Unable to mount root fs", true)
	})
}
