package vmtests

import (
	"bytes"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file pin what kernels do with an archive that a power cut tore. Most of it they
// do without a word: that is what the footer of a segment, its list of checksums and the check in
// stage 1 are for.

// tornImage is a base and what follows it, and what a guest sees of it.
type tornImage struct {
	name  string
	tail  []byte
	says  string // on the console; nothing about unpacking when empty
	seen  map[string]string
	often bool // in ordinary runs too
}

const tornSize = 300_000

// tornSegment is a segment of a small file and a large one, and where the content of the large one
// begins.
func tornSegment(t *testing.T) (segment []byte, content int) {
	t.Helper()
	segment = newc(t, cpio.StaticFile("first", "whole", 0o400),
		cpio.StaticFile("torn", string(secretFile(tornSize)), 0o400))
	return segment, len(segment) - tornSize - len(newc(t))
}

func tornImages(t *testing.T) []tornImage {
	t.Helper()
	segment, content := tornSegment(t)
	cut := len(segment) / 2 / 4 * 4
	half := append(secretFile(cut-content), make([]byte, tornSize-cut+content)...)
	whole := regular(0o400, 0, 0, []byte("whole"))
	torn := map[string]string{"/first": whole, "/torn": regular(0o400, 0, 0, half)}
	all := map[string]string{"/first": whole, "/torn": regular(0o400, 0, 0, secretFile(tornSize))}
	small := newc(t, cpio.StaticFile("torn", "8 bytes.", 0o400))
	behind := newc(t, cpio.StaticFile("behind", "lost", 0o400))
	trailer := len(segment) - len(newc(t))
	compressed := compress(t, "zstd", newc(t, cpio.StaticFile("first", "whole", 0o400),
		cpio.StaticFile("torn", string(randomBytes(tornSize)), 0o400)))
	return []tornImage{
		// The dangerous one: the file has its full size, its end is NULs.
		{name: "in a file", tail: segment[:cut], seen: torn, often: true},
		{
			name: "in a file of 8 bytes", tail: small[:len(small)-len(newc(t))-4],
			seen: map[string]string{"/torn": regular(0o400, 0, 0, []byte("8 by\x00\x00\x00\x00"))},
		},
		{name: "in a header", tail: segment[:content-60], seen: map[string]string{
			"/first": whole,
			"/torn":  "missing",
		}},
		{name: "in the trailer", tail: segment[:trailer+50], seen: all},
		{
			name: "as zeros", tail: append(bytes.Clone(segment[:cut]), make([]byte, len(segment)-cut)...),
			seen: torn,
		},
		{
			name: "with garbage at the end", tail: append(bytes.Clone(segment[:trailer]),
				bytes.Repeat([]byte{0xa5}, 512)...), seen: all,
			says: lost + ": invalid magic at start of compressed archive",
		},
		{
			name: "compressed", tail: compressed[:len(compressed)/2],
			says: "ZSTD-compressed data is truncated", seen: map[string]string{"/first": whole},
		},
		// What is appended behind a torn segment is taken for the rest of it, or for nothing at all.
		{
			name: "and another behind it, swallowed", tail: append(bytes.Clone(segment[:cut]), behind...),
			seen: map[string]string{"/first": whole, "/behind": "missing"},
		},
		{
			name: "and another behind it, swallowed in part",
			tail: append(bytes.Clone(small[:len(small)-len(newc(t))-4]), behind...),
			says: lost + ": no cpio magic", seen: map[string]string{"/behind": "missing"},
		},
	}
}

func TestKernelUnpacksSegments_tornSilently(t *testing.T) {
	images := tornImages(t)
	onKernels(t, func(t *testing.T, k vm.Kernel, _ bool) {
		base := pad(compress(t, "zstd", archive(t, guestRoot(k, "describe /first /torn /behind"))), 4)
		for _, image := range images {
			if !image.often && !long() {
				continue
			}
			t.Run(image.name, func(t *testing.T) {
				rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, image.tail)})
				if image.says == "" {
					wantConsole(t, rep, lost, false)
				} else {
					wantConsole(t, rep, image.says, true)
				}
				expect(t, rep, image.seen)
			})
		}
	})
}

// A torn base is no danger to secrets: nothing boots.
func TestKernelUnpacksSegments_tornBaseDoesNotBoot(t *testing.T) {
	onlyIf(t, long())
	need(t, "zstd")
	onKernels(t, func(t *testing.T, k vm.Kernel, _ bool) {
		base := compress(t, "zstd", archive(t, guestRoot(k, "describe /first")))
		rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base[:len(base)/2])})
		wantConsole(t, rep, "ZSTD-compressed data is truncated", true)
		wantConsole(t, rep, "Kernel panic - not syncing", true)
	})
}
