package vmtests

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file boot images that package initrd made.

func install(t *testing.T, image string, opts initrd.Options,
	entries ...initrd.Entry,
) initrd.Result {
	t.Helper()
	s, err := initrd.NewSegment(entries, initrd.Digest{1}, initrd.Profile{
		CopyDir:  "/.initrd-secrets",
		NeedBase: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := initrd.Install(t.Context(), image, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// secrets are the entries that every base is booted with: binary data, modes and owners of all
// kinds, and a value that changes from one installation to the next.
func secrets(version string) []initrd.Entry {
	binary := append(secretFile(4090), "\n\x00\r\n\xff\x00"...)
	return []initrd.Entry{
		{Path: "/.initrd-secrets", Mode: fs.ModeDir | 0o755},
		{Path: "/.initrd-secrets/etc/luks.key", Mode: 0o400, Data: binary},
		{
			Path: "/.initrd-secrets/etc/wireguard/wg0.key", Mode: 0o440, UID: 152, GID: 152,
			Data: []byte("wg " + version),
		},
		{Path: "/.initrd-secrets/empty", Mode: 0o600, GID: 7},
		{Path: "/etc/direct", Mode: fs.ModeSetuid | 0o755, UID: 65534, GID: 65534, Data: []byte(version)},
		{Path: "/.initrd-secrets/link", Mode: fs.ModeSymlink | 0o777, Target: "etc/luks.key"},
	}
}

func secretsSeen(version string) map[string]string {
	binary := append(secretFile(4090), "\n\x00\r\n\xff\x00"...)
	return map[string]string{
		"/.initrd-secrets":                       "dir 755 0 0",
		"/.initrd-secrets/etc/luks.key":          regular(0o400, 0, 0, binary),
		"/.initrd-secrets/etc/wireguard/wg0.key": regular(0o440, 152, 152, []byte("wg "+version)),
		"/.initrd-secrets/empty":                 regular(0o600, 0, 7, nil),
		"/etc/direct":                            regular(0o4755, 65534, 65534, []byte(version)),
		"/.initrd-secrets/link":                  "link etc/luks.key",
		"/etc/kept":                              regular(0o640, 0, 0, []byte("of the base")),
		"/linked":                                "link etc",
	}
}

const describeSecrets = `describe /.initrd-secrets /.initrd-secrets/etc/luks.key /.initrd-secrets/etc/wireguard/wg0.key \
	/.initrd-secrets/empty /etc/direct /.initrd-secrets/link /etc/kept /linked`

func secretsBase(k vm.Kernel) *vm.Tree {
	root := guestRoot(k, describeSecrets)
	root.File("/etc/kept", 0o640, []byte("of the base"))
	root.Link("/linked", "etc")
	return root
}

// Each compressor's kernel decoder has its own idea of where its data ends. Every base is installed
// twice, with other values the second time: the kernel has to see the second, the image to hold one
// segment.
func TestSegmentSeen_behindEveryBase(t *testing.T) {
	onKernels(t, behindEveryBase)
}

func behindEveryBase(t *testing.T, k vm.Kernel, all bool) {
	for _, format := range []string{"zstd", "gzip", "xz", "lz4", "bzip2", "lzma", "none"} {
		if format != "zstd" && !all {
			continue
		}
		t.Run(format, func(t *testing.T) {
			if format != "none" {
				need(t, map[string]string{
					"zstd": "zstd", "gzip": "gzip", "xz": "xz", "lz4": "lz4",
					"bzip2": "bzip2", "lzma": "xz",
				}[format])
			}
			base := compress(t, format, archive(t, secretsBase(k)))
			// All four lengths modulo 4 take their turn; trailing NULs are part of a base as any other byte.
			image := writeImage(t, base)
			o := initrd.Options{Base: writeImage(t, base)}
			entries, seen := secrets, secretsSeen("second, longer")
			if format == "bzip2" || format == "lzma" {
				// They are not looked into, so that nothing can lie where a base could have a link.
				entries = func(version string) []initrd.Entry {
					return slices.DeleteFunc(secrets(version), func(e initrd.Entry) bool {
						return e.Path == "/etc/direct"
					})
				}
				delete(seen, "/etc/direct")
			}
			first := install(t, image, o, entries("first")...)
			second := install(t, image, o, entries("second, longer")...)
			if second.Action != initrd.Replaced || second.Base != int64(len(base)) ||
				first.Offset != second.Offset {
				t.Errorf("second installation: %+v, first: %+v", second, first)
			}
			rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
			wantConsole(t, rep, lost, false)
			expect(t, rep, seen)
		})
	}
}

// The lengths of a base modulo 4, at the compressor that is most particular.
func TestSegmentSeen_atEveryLength(t *testing.T) {
	onlyIf(t, long())
	onKernels(t, atEveryLength)
}

func atEveryLength(t *testing.T, k vm.Kernel, _ bool) {
	for rest := range 4 {
		t.Run(fmt.Sprintf("lz4 with %d bytes over", rest), func(t *testing.T) {
			base := compress(t, "lz4", archive(t, secretsBase(k)))
			for i := 1; len(base)%4 != rest; i++ {
				root := secretsBase(k)
				root.File("/filler", 0o644, secretFile(i))
				base = compress(t, "lz4", archive(t, root))
			}
			image := writeImage(t, base)
			install(t, image, initrd.Options{}, secrets("x")...)
			rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
			wantConsole(t, rep, lost, false)
			expect(t, rep, secretsSeen("x"))
		})
	}
}

// GRUB and limine load the segment as a file of its own, behind the initrd; the loader pads the
// first to four bytes. The file has to be right in itself: a kernel that gets it first, with no
// base before it, takes it too.
func TestSegmentSeen_asFileOfItsOwn(t *testing.T) {
	onKernels(t, func(t *testing.T, k vm.Kernel, all bool) {
		onlyIf(t, all)
		asFileOfItsOwn(t, k)
	})
}

func asFileOfItsOwn(t *testing.T, k vm.Kernel) {
	for _, format := range []string{"zstd", "lz4"} {
		base := compress(t, format, archive(t, secretsBase(k)))
		own := filepath.Join(t.TempDir(), "secrets")
		if res := install(t, own, initrd.Options{Base: writeImage(t, base)},
			secrets("own file")...); res.Action != initrd.Created {
			t.Errorf("action %q, want %q", res.Action, initrd.Created)
		}
		segment, err := os.ReadFile(own)
		if err != nil {
			t.Fatal(err)
		}
		if len(segment) >= len(base) {
			t.Errorf("the file of its own has %d bytes: the base is in it", len(segment))
		}
		for name, image := range map[string]string{
			"behind ": writeImage(t, pad(base, 4), segment),
			"before ": writeImage(t, pad(segment, 4), base),
		} {
			t.Run(name+format, func(t *testing.T) {
				rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
				wantConsole(t, rep, lost, false)
				seen := secretsSeen("own file")
				if name == "before " {
					// its parent is a directory of the base, so the segment does not have it
					seen["/etc/direct"] = "missing"
				}
				expect(t, rep, seen)
			})
		}
	}
}

// A stock appender's segments behind the base, cut or torn, are gone when the pristine base is
// named.
func TestSegmentSeen_afterRepair(t *testing.T) {
	k := testKernel(t)
	base := compress(t, "zstd", archive(t, secretsBase(k)))
	pristine := writeImage(t, base)
	image := writeImage(t, base)
	install(t, image, initrd.Options{}, secrets("torn")...)
	whole, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(len(whole)-1500)); err != nil {
		t.Fatal(err)
	}
	if res := install(t, image, initrd.Options{Base: pristine},
		secrets("repaired")...); res.Action != initrd.Repaired {
		t.Errorf("action %q, want %q", res.Action, initrd.Repaired)
	}
	rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
	wantConsole(t, rep, lost, false)
	expect(t, rep, secretsSeen("repaired"))
}

// The state in which an image is while its end is overwritten in place: the kernel takes everything
// behind the marker for the marker's content, so no secret is there, old or new, and the base boots
// without a word.
func TestSegmentSeen_haltedNot(t *testing.T) {
	k := testKernel(t)
	for _, format := range []string{"zstd", "lz4"} {
		t.Run(format, func(t *testing.T) {
			image := writeImage(t, compress(t, format, archive(t, secretsBase(k))))
			res := install(t, image, initrd.Options{}, secrets("whole")...)
			f, err := os.OpenFile(image, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const sizeField = 54 // of an archive's header
			if _, err := f.WriteAt([]byte("01"), res.Offset+sizeField); err != nil {
				t.Fatal(err)
			}
			rep := boot(t, vm.Machine{Kernel: k, Initrd: image})
			wantConsole(t, rep, lost, false)
			seen := secretsSeen("whole")
			for _, e := range secrets("whole") {
				seen[e.Path] = "missing"
			}
			expect(t, rep, seen)
		})
	}
}

// u-root builds initrds of its own, with a userland in Go: a base that nobody here made.
func TestSegmentSeen_byURoot(t *testing.T) {
	k := testKernel(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "uroot.cpio")
	cmd := exec.Command("go", "tool", "u-root", "-o", image, "-initcmd", "readsecret", "-defaultsh",
		"", "./testdata/readsecret")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("u-root: %v\n%s", err, out)
	}
	install(t, image, initrd.Options{}, secrets("u-root")...)
	seen := secretsSeen("u-root")
	rep := boot(t, vm.Machine{
		Kernel: k, Initrd: image,
		Append: "quiet -- /.initrd-secrets/etc/luks.key /.initrd-secrets/etc/wireguard/wg0.key",
	})
	wantConsole(t, rep, lost, false)
	expect(t, rep, map[string]string{
		"/.initrd-secrets/etc/luks.key":          seen["/.initrd-secrets/etc/luks.key"],
		"/.initrd-secrets/etc/wireguard/wg0.key": seen["/.initrd-secrets/etc/wireguard/wg0.key"],
	})
}
