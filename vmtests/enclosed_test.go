package vmtests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// limine before 12.4.0 puts a second initrd directly behind the first. Enclosed in a zstd frame a
// segment is found at any offset, behind every compressor; a plain one is not
// (TestKernelUnpacksSegments_onlyOnFourByteBoundary).
func TestEnclosedSegment_isFoundAtAnyOffset(t *testing.T) {
	k := testKernel(t)
	image := filepath.Join(t.TempDir(), "enclosed")
	install(t, image, initrd.Options{Enclose: true},
		initrd.Entry{Path: "/.initrd-secrets/secret", Mode: 0o440, UID: 7, Data: secretFile(300_000)})
	enclosed, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	root := archive(t, busyboxRoot("describe /.initrd-secrets/secret"))
	cases := []struct {
		compressor string
		shift      int
	}{{"zstd", 1}, {"lz4", 3}}
	if long() {
		for _, compressor := range []string{"gzip", "xz", "zstd", "lz4"} {
			for shift := range 4 {
				cases = append(cases, struct {
					compressor string
					shift      int
				}{compressor, shift})
			}
		}
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s, %d bytes behind a boundary", c.compressor, c.shift), func(t *testing.T) {
			base := compress(t, c.compressor, root)
			gap := ((c.shift-len(base))%4 + 4) % 4 // what is needed for that offset, and nothing more
			rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, base, make([]byte, gap), enclosed)})
			wantConsole(t, rep, lost, false)
			expect(t, rep,
				map[string]string{"/.initrd-secrets/secret": regular(0o440, 7, 0, secretFile(300_000))})
		})
	}
}
