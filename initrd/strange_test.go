package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel would stumble over is told, with its place.
func TestInspect_problems(t *testing.T) {
	t.Parallel()
	plain := newc(rec{"a", typeRegular | 0o644, strings.Repeat("text ", 1000)})
	noTrailer := plain[:len(plain)-trailerBytes]
	lz4 := compress(t, KindLZ4, plain)
	s := mustSegment(t, secrets("a"), Digest{})
	direct, err := s.Bytes(int64(len(lz4)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"not aligned", append([]byte{0}, plain...), "an archive that does not begin at a multiple of 4"},
		{"lzo", []byte("\x89LZO\x00\r\n\x1a\n data"), "compressed with lzo, which is not looked into"},
		{"lz4 that the kernel does not read", run(t, "", plain, "lz4", "-q", "-c"), "neither an archive nor compressed data"},
		{"lz4 followed directly", append(bytes.Clone(lz4), direct...), "lz4 data: block of"},
		{"something else inside", compress(t, KindGzip, []byte("#!/bin/sh\n")), "gzip data: something that is no archive, at offset 0 of the unpacked data"},
		{"garbage behind the archive inside", compress(t, KindGzip, append(bytes.Clone(plain), "x"...)), "something that is no archive"},
		{"archive inside not aligned", compress(t, KindGzip, append([]byte{0}, plain...)), "something that is no archive, at offset 1"},
		{"archive inside without trailer", compress(t, KindZstd, noTrailer), "zstd data: the archive inside ends early"},
		{"nothing inside", compress(t, KindXZ, nil), "xz data: no archive inside"},
		{"NULs inside", compress(t, KindXZ, make([]byte, 100)), "xz data: no archive inside"},
		{"lzma", []byte("\x5d\x00\x00\x80\x00 data"), "compressed with lzma, which is not looked into"},
		{"bzip2", []byte("BZh9 data"), "compressed with bzip2, which is not looked into"},
		{"archive without trailer", noTrailer, "archive is torn: the image ends inside it"},
		{"sum broken", flipped(compress(t, KindGzip, plain), 8), "gzip data: gzip: invalid checksum"},
		{"filter", run(t, "", plain, "xz", "--x86", "--lzma2"), "xz data: a filter besides LZMA2, which cannot be looked into"},
		{"odd checksum field", bytes.Replace(plain, []byte("00000000a\x00"), []byte("0000000ga\x00"), 1), "header field 13 is not hexadecimal"},
		{"name without end", bytes.Replace(plain, []byte("a\x00"), []byte("ab"), 1), "name does not end where its length says"},
		{"many parts", bytes.Repeat(trailer(), maxParts+1), ""},
		{"too many parts", bytes.Repeat(append(trailer(), 0, 0, 0, 0), maxParts), "more than 10000 parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := inspect(bytes.NewReader(c.image), int64(len(c.image)))
			if err != nil {
				t.Fatal(err)
			}
			last := l.Parts[len(l.Parts)-1]
			if c.name == "many parts" {
				c.want = "more than 10000 parts"
			}
			if l.Complete() || !strings.Contains(last.Problem, c.want) || last.Offset+last.Size != l.Size {
				t.Errorf("%+v", last)
			}
			// Nothing is put behind it.
			newBoot(t, c.image).fails(s, Options{}, last.Problem)
		})
	}
}

// flipped changes the byte so many from the end.
func flipped(b []byte, fromEnd int) []byte {
	b[len(b)-fromEnd] ^= 1
	return b
}

// What compressors can be told to do.
func TestInspect_variants(t *testing.T) {
	t.Parallel()
	plain := newc(rec{"a", typeRegular | 0o644, string(noise(4, 300_000)) + strings.Repeat("text ", 100_000)})
	for _, argv := range [][]string{
		{"xz", "--check=none"},
		{"xz", "--check=crc64"},
		{"xz", "--check=sha256"},
		{"xz", "-T2", "--block-size=100000"},
		{"xz", "-9e"},
		{"zstd", "-q", "--no-check"},
		{"zstd", "-q", "-T2", "-1"},
		{"zstd", "-q", "--ultra", "-22"},
		{"zstd", "-q", "--long=27"},
		{"gzip", "-1"},
		{"lz4", "-l", "-q", "-9"},
	} {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			t.Parallel()
			base := run(t, "", plain, argv[0], argv[1:]...)
			image := join(t, base, mustSegment(t, secrets("a"), Digest{}))
			l, err := inspect(bytes.NewReader(image), int64(len(image)))
			if err != nil || !l.Complete() || l.Parts[0].Size != int64(len(base)) || l.Parts[0].Unpacked != int64(len(plain)) || l.Parts[0].Entries != 1 {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

// Two streams of every kind, one behind the other, as the stock appender of NixOS leaves them.
func TestInspect_stock_appended(t *testing.T) {
	t.Parallel()
	first := newc(rec{"a", typeRegular | 0o644, string(noise(4, 3001))})
	second := newc(rec{".initrd-secrets", typeDir | 0o755, ""}, rec{".initrd-secrets/k", typeRegular | 0o400, "old"})
	for kind := range compressors() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if kind == KindLZ4 {
				t.Skip("not here: the kernel reads nothing behind lz4 without NULs")
			}
			image := append(bytes.Clone(compress(t, kind, first)), compress(t, kind, second)...)
			l, err := inspect(bytes.NewReader(image), int64(len(image)))
			if err != nil || !l.Complete() {
				t.Fatalf("%+v, %v", l, err)
			}
			entries, archives := 0, 0
			for _, p := range l.Parts {
				entries, archives = entries+p.Entries, archives+p.Archives
			}
			if entries != 3 || archives != 2 {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestInstall_nothing_given(t *testing.T) {
	t.Parallel()
	_, err1 := Install(ctx, "x", nil, Options{})
	_, err2 := Plan(ctx, "x", nil, Options{})
	if err1 == nil || err2 == nil {
		t.Error(err1, err2)
	}
}

// Entries outside secretsDir are compared with what is left of an image when our old segment is
// taken out of its middle.
func TestInstall_outside_between(t *testing.T) {
	t.Parallel()
	old := mustSegment(t, []Entry{entryAt("/gone/a")}, Digest{})
	stock := newc(rec{"srv", typeDir | 0o755, ""})
	b := newBoot(t, append(join(t, fitBase(t), old), stock...))
	b.install(mustSegment(t, []Entry{entryAt("/srv/a"), entryAt("/etc/b"), entryAt("/gone/c")}, Digest{}), Options{}, Replaced)
	diff(t, []string{"/etc/b", "/gone", "/gone/c", "/srv/a"}, outsideOf(t, b.image))
}

func TestInstall_vfat(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	o := Options{layer: fullLayer{Layer: osLayer(), capacity: 1 << 40, magic: unix.MSDOS_SUPER_MAGIC}}
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open=%v", open), func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, nil)
			if open {
				for _, dir := range []string{filepath.Dir(b.dir), b.dir} {
					if err := os.Chmod(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			res := b.install(s, o, Created)
			warned := len(res.Warnings) == 1 && strings.Contains(res.Warnings[0].Text, "other users of this host can read its secrets") &&
				strings.HasPrefix(res.Warnings[0].Hint, "mount /") && strings.HasSuffix(res.Warnings[0].Hint, " with the option umask=0077")
			if warned != open {
				t.Errorf("warnings %+v", res.Warnings)
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		slow(t)
		t.Parallel()
		b := newBoot(t, baseArchive())
		if err := os.Truncate(b.image, 1<<32-100); err != nil {
			t.Skip(err)
		}
		_, err := Install(ctx, b.image, s, o)
		if err == nil || !strings.Contains(err.Error(), "a file on vfat cannot be longer than 4294967295") {
			t.Errorf("error %v", err)
		}
	})
}

// Where copies share their blocks, only trying tells whether there is room.
func TestInstall_reflink(t *testing.T) {
	t.Parallel()
	b := newBoot(t, baseArchive())
	s := mustSegment(t, secrets("a"), Digest{})
	free := int64(len(baseArchive())) + 2000 // less than a copy
	o := Options{layer: fullLayer{Layer: osLayer(), capacity: free, magic: unix.BTRFS_SUPER_MAGIC}}
	if res := b.install(s, o, Appended); res.InPlace {
		t.Errorf("%+v", res)
	}
}

func TestNoSpaceError_hints(t *testing.T) {
	t.Parallel()
	b := newBoot(t, join(t, baseArchive(), mustSegment(t, secrets("a"), Digest{})))
	o := Options{layer: fullLayer{Layer: osLayer(), capacity: 40_000}}
	err := b.fails(mustSegment(t, secrets("b"), Digest{}), o, "are missing")
	var full *NoSpaceError
	if !errors.As(err, &full) || len(full.Hints()) != 2 || !strings.Contains(full.Hints()[1], "overwritten in place") {
		t.Errorf("error %v", err)
	}
}
