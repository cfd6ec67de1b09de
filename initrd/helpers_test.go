package initrd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

// need returns the path of a program, or skips the test; in CI its absence is a failure.
func need(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// slow leaves a test out of short runs.
func slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// run runs a program in a directory and returns its output.
func run(t testing.TB, dir string, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(need(t, name), args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.Bytes())
	}
	return out
}

// compressors gives, for each kind of base, the command that makes it of a plain archive.
func compressors() map[string][]string {
	return map[string][]string{
		KindCPIO: nil,
		KindGzip: {"gzip", "-9n"},
		KindXZ:   {"xz", "--check=crc32"},
		KindLZ4:  {"lz4", "-l", "-q"},
		KindZstd: {"zstd", "-q", "-19"},
	}
}

// compress makes a base of a plain archive.
func compress(t testing.TB, kind string, plain []byte) []byte {
	t.Helper()
	argv := compressors()[kind]
	if argv == nil {
		return plain
	}
	return run(t, "", plain, argv[0], argv[1:]...)
}

// rec is an entry of an archive made by newc.
type rec struct {
	name string
	mode uint32
	data string
}

// newc makes a plain archive without any library, so that a fault of ours or theirs is not on
// both sides of a test.
func newc(recs ...rec) []byte {
	var b bytes.Buffer
	for i, r := range append(recs, rec{name: trailerName}) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			721+i, r.mode, 0, 0, 1, 0, len(r.data), 0, 0, 0, 0, len(r.name)+1, 0, r.name)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
		b.WriteString(r.data)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	return b.Bytes()
}

// noise is data that does not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// baseArchive is a small initrd.
func baseArchive() []byte {
	return newc(
		rec{".", typeDir | 0o755, ""},
		rec{"bin", typeDir | 0o755, ""},
		rec{"bin/busybox", typeRegular | 0o755, string(noise(1, 30_001))},
		rec{"etc", typeDir | 0o755, ""},
		rec{"etc/fstab", typeRegular | 0o644, strings.Repeat("/dev/x /y\n", 100)},
		rec{"init", typeSymlink | 0o777, "bin/busybox"},
		rec{"lib", typeSymlink | 0o777, "usr/lib"},
		rec{"usr", typeDir | 0o755, ""},
		rec{"usr/lib", typeDir | 0o755, ""},
	)
}

// secrets are entries as NixOS's hook has them. The marker of the values can be searched for.
func secrets(values ...string) []Entry {
	var entries []Entry
	for i, v := range values {
		entries = append(entries, Entry{Path: fmt.Sprintf("%s/etc/keys/key%d", secretsDir, i), Mode: 0o400, Data: []byte(v)})
	}
	return entries
}

const secretsDir = "/.initrd-secrets"

// nixos is a profile like that of NixOS.
func nixos() Profile {
	return Profile{CopyDir: secretsDir, CannotCopy: ` *?[]\\`, NeedBase: true}
}

func newSegment(entries []Entry, inputs Digest) (*Segment, error) {
	return NewSegment(entries, inputs, nixos())
}

func inspect(r io.ReaderAt, size int64) (*Layout, error) {
	return (&Image{r: r, size: size}).Layout(ctx)
}

var ctx = context.Background()

func mustSegment(t testing.TB, entries []Entry, inputs Digest) *Segment {
	t.Helper()
	s, err := newSegment(entries, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// join makes an image of a base and a segment.
func join(t testing.TB, base []byte, s *Segment) []byte {
	t.Helper()
	b, err := s.Bytes(int64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	image := append(bytes.Clone(base), make([]byte, Padding(int64(len(base))))...)
	return append(image, b...)
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scratch is a directory in memory where there is such a file system: thousands of fsyncs are
// slow on a disk.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "initrd-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// names lists a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// tree lists what was unpacked below a directory: type, mode, path, content.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%v %s", fi.Mode(), strings.TrimPrefix(path, root))
		switch {
		case fi.Mode().IsRegular():
			line += fmt.Sprintf(" %q", readFile(t, path))
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("%v %s -> %s", fs.ModeSymlink, strings.TrimPrefix(path, root), target)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func osLayer() atomicfile.Layer { return atomicfile.OS() }
