package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// boot is a scratch /boot with an image and, beside it, the pristine base.
type boot struct {
	t     testing.TB
	dir   string
	image string
	base  string
}

func newBoot(t testing.TB, image []byte) *boot {
	t.Helper()
	b := &boot{t: t, dir: filepath.Join(scratch(t), "boot")}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.image = filepath.Join(b.dir, "initrd")
	b.base = filepath.Join(filepath.Dir(b.dir), "pristine")
	if image != nil {
		writeFile(t, b.image, image)
	}
	return b
}

// withBase writes the pristine base and returns options that name it.
func (b *boot) withBase(base []byte) Options {
	b.t.Helper()
	writeFile(b.t, b.base, base)
	return Options{Base: b.base}
}

// install installs and checks that the result tells the truth.
func (b *boot) install(s *Segment, o Options, want Action) Result {
	b.t.Helper()
	plan, planErr := Plan(ctx, b.image, s, o)
	res, err := Install(ctx, b.image, s, o)
	if err != nil {
		b.t.Fatalf("install: %v", err)
	}
	if planErr != nil || fmt.Sprintf("%#v", plan) != fmt.Sprintf("%#v", res) {
		b.t.Errorf("plan %+v (%v)\nresult %+v", plan, planErr, res)
	}
	if res.Action != want {
		b.t.Fatalf("action %q, want %q", res.Action, want)
	}
	b.checkResult(res)
	return res
}

func (b *boot) checkResult(res Result) {
	b.t.Helper()
	if n := names(b.t, b.dir); res.Size >= 0 && (len(n) != 1 || n[0] != "initrd") {
		b.t.Errorf("directory holds %q", n)
	}
	if res.Size < 0 {
		return
	}
	image := readFile(b.t, b.image)
	if int64(len(image)) != res.Size {
		b.t.Errorf("image has %d bytes, result says %d", len(image), res.Size)
	}
	i, err := NewImage(bytes.NewReader(image), res.Size)
	if err != nil {
		b.t.Fatal(err)
	}
	in, err := i.Segment(ctx)
	if res.Length == 0 {
		if !errors.Is(err, ErrNoSegment) {
			b.t.Errorf("after cutting: %+v, %v", in, err)
		}
		return
	}
	want := Installed{
		Offset: res.Offset, Length: res.Length, Base: res.Base, Padding: Padding(res.Base),
		Version: formatVersion, Whole: true, Inputs: in.Inputs, Sum: res.Sum,
		Trailing: i.size - res.Offset - res.Length,
	}
	if err != nil || *in != want {
		b.t.Errorf("found %+v, %v; want %+v", in, err, want)
	}
	ours := 0
	l, err := i.Layout(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range l.Parts {
		if p.Kind == KindSegment {
			ours++
		}
	}
	if ours != 1 {
		b.t.Errorf("%d segments of ours", ours)
	}
}

// fails checks that installing fails, says why, and changes nothing.
func (b *boot) fails(s *Segment, o Options, want string) error {
	b.t.Helper()
	before := snapshot(b.t, b.dir)
	_, planErr := Plan(ctx, b.image, s, o)
	_, err := Install(ctx, b.image, s, o)
	if err == nil || !strings.Contains(err.Error(), want) {
		b.t.Fatalf("error %v, want one with %q", err, want)
	}
	if planErr == nil || planErr.Error() != err.Error() {
		b.t.Errorf("plan says %v, install %v", planErr, err)
	}
	if after := snapshot(b.t, b.dir); after != before {
		b.t.Errorf("directory changed:\n%s\n%s", before, after)
	}
	var h interface{ Hints() []string }
	if !errors.As(err, &h) || !strings.HasPrefix(h.Hints()[0], "the image was not changed") {
		b.t.Errorf("hints of %v", err)
	}
	return err
}

// snapshot describes all that a run could change: inode, times, content.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	for _, n := range append(names(t, dir), ".") {
		fi, err := os.Lstat(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %v %d %+v\n", n, fi.Mode(), fi.Size(), withoutAccessTime(fi))
		if fi.Mode().IsRegular() {
			fmt.Fprintf(&out, "%x\n", readFile(t, filepath.Join(dir, n)))
		}
	}
	return out.String()
}

func TestInstall(t *testing.T) {
	t.Parallel()
	plain := baseArchive()
	zstd := compress(t, KindZstd, plain)
	s1, s2, s3 := mustSegment(t, secrets("a"), Digest{1}), mustSegment(t, secrets("b"), Digest{2}), mustSegment(t, secrets("longer", "c"), Digest{3})
	stock := compress(t, KindZstd, newc(rec{".initrd-secrets", typeDir | 0o755, ""}, rec{".initrd-secrets/old", typeRegular | 0o400, "stale"}))
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	torn := func(base []byte, s *Segment, keep int) []byte { return join(t, base, s)[:len(base)+keep] }
	newer := newerVersion(t, zstd, s1)

	for _, c := range []struct {
		name   string
		image  []byte // nil: missing
		base   []byte // nil: not known
		s      *Segment
		action Action
		want   []byte // the base that the image holds afterwards
	}{
		{"missing", nil, nil, s1, Created, []byte{}},
		{"missing, base known", nil, zstd, s1, Created, []byte{}},
		{"empty", []byte{}, nil, s1, Created, []byte{}},
		{"empty, base known", []byte{}, zstd, s1, Created, []byte{}},
		{"alone, unchanged", join(t, nil, s1), nil, s1, Unchanged, []byte{}},
		{"alone, unchanged, base known", join(t, nil, s1), zstd, s1, Unchanged, []byte{}},
		{"alone, changed", join(t, nil, s1), nil, s2, Replaced, []byte{}},
		{"alone, changed, base known", join(t, nil, s1), zstd, s2, Replaced, []byte{}},
		{"alone, torn", torn(nil, s1, 500), nil, s2, Repaired, []byte{}},
		{"alone, torn, base known", torn(nil, s1, 500), zstd, s2, Repaired, []byte{}},
		{"pristine", zstd, nil, s1, Appended, zstd},
		{"pristine, base known", zstd, zstd, s1, Appended, zstd},
		{"unchanged", join(t, zstd, s1), nil, s1, Unchanged, zstd},
		{"unchanged, base known", join(t, zstd, s1), zstd, s1, Unchanged, zstd},
		{"same size", join(t, zstd, s1), nil, s2, Replaced, zstd},
		{"same size, base known", join(t, zstd, s1), zstd, s2, Replaced, zstd},
		{"longer", join(t, zstd, s1), nil, s3, Replaced, zstd},
		{"shorter", join(t, zstd, s3), nil, s1, Replaced, zstd},
		{"unknown version", newer, nil, s1, Replaced, zstd},
		{"unknown version, base known", newer, zstd, s1, Replaced, zstd},
		{"NULs behind", cat(join(t, zstd, s1), make([]byte, 512)), nil, s1, Unchanged, zstd},
		{"NULs behind, base known", cat(join(t, zstd, s1), make([]byte, 512)), zstd, s1, Unchanged, zstd},
		{"many NULs behind", cat(join(t, zstd, s1), make([]byte, 100_000)), nil, s1, Unchanged, zstd},
		{"many NULs behind, base known", cat(join(t, zstd, s1), make([]byte, 100_000)), zstd, s1, Unchanged, zstd},
		{"NULs behind, changed", cat(join(t, zstd, s1), make([]byte, 512)), nil, s2, Replaced, zstd},
		{"many NULs behind, changed, base known", cat(join(t, zstd, s1), make([]byte, 100_000)), zstd, s2, Replaced, zstd},
		{"two segments", join(t, join(t, zstd, s1), s2), nil, s2, Replaced, zstd},
		{"three segments", join(t, join(t, join(t, zstd, s1), s2), s3), nil, s3, Replaced, zstd},
		{"two segments, base known", join(t, join(t, zstd, s1), s2), zstd, s2, Replaced, zstd},
		{"stock segment", cat(zstd, stock), nil, s1, Appended, cat(zstd, stock)},
		{"stock segment, base known", cat(zstd, stock), zstd, s1, Appended, zstd},
		{"three stock segments, base known", cat(zstd, stock, stock, stock), zstd, s1, Appended, zstd},
		{"ours behind a stock segment, base known", join(t, cat(zstd, stock), s1), zstd, s1, Replaced, zstd},
		{"stock segment behind ours", cat(join(t, zstd, s1), stock), nil, s2, Replaced, cat(zstd, make([]byte, Padding(int64(len(zstd)))), stock)},
		{"stock segment behind ours, base known", cat(join(t, zstd, s1), stock), zstd, s2, Replaced, zstd},
		{"garbage behind ours, base known", cat(join(t, zstd, s1), []byte("garbage")), zstd, s1, Replaced, zstd},
		{"garbage behind the base, base known", cat(zstd, []byte("garbage")), zstd, s1, Appended, zstd},
		{"truncated base, base known", zstd[:len(zstd)/2], zstd, s1, Repaired, zstd},
		{"base short of one byte, base known", zstd[:len(zstd)-1], zstd, s1, Repaired, zstd},
		{"base with a tail of NULs, base known", cat(zstd[:len(zstd)/2], make([]byte, len(zstd))), zstd, s1, Repaired, zstd},
		{"nothing but NULs, base known", make([]byte, 4096), zstd, s1, Repaired, zstd},
		{"base ends in NULs", cat(plain, make([]byte, 509)), nil, s1, Appended, cat(plain, make([]byte, 509))},
		{"base ends in NULs, changed", join(t, cat(plain, make([]byte, 509)), s1), nil, s2, Replaced, cat(plain, make([]byte, 509))},
		{"segment moved", cat(plain, join(t, nil, s1)), nil, s2, Replaced, plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, c.image)
			var o Options
			if c.base != nil {
				o = b.withBase(c.base)
			}
			before := snapshot(t, b.dir)
			res := b.install(c.s, o, c.action)
			if c.action == Unchanged && snapshot(t, b.dir) != before {
				t.Errorf("unchanged, but the directory is not:\n%s\n%s", before, snapshot(t, b.dir))
			}
			want := join(t, c.want, c.s)
			if c.action == Unchanged {
				want = c.image
			}
			if got := readFile(t, b.image); !bytes.Equal(got, want) {
				t.Fatalf("image of %d bytes (base %d), want %d (base %d)", len(got), res.Base, len(want), len(c.want))
			}
			b.install(c.s, o, Unchanged)

			// Cutting it gives the base back, byte for byte.
			res = b.install(mustSegment(t, nil, Digest{}), o, Removed)
			if got := readFile(t, b.image); !bytes.Equal(got, c.want) {
				t.Errorf("after removing: %d bytes, want %d", len(got), len(c.want))
			}
			if res.Size != int64(len(c.want)) {
				t.Errorf("result of removing %+v", res)
			}
			if len(c.want) > 0 {
				b.install(mustSegment(t, nil, Digest{}), o, Unchanged)
			}
		})
	}
}

func TestInstall_refuses(t *testing.T) {
	t.Parallel()
	zstd := compress(t, KindZstd, baseArchive())
	other := compress(t, KindZstd, newc(rec{"other", typeRegular | 0o644, string(noise(9, 50_000))}))
	s := mustSegment(t, secrets("a"), Digest{1})
	for _, c := range []struct {
		name  string
		image []byte
		base  []byte
		want  string
	}{
		{"not an initrd", []byte("#!/bin/sh\n"), nil, "is not an initrd: neither an archive nor compressed data at offset 0"},
		{"NULs", make([]byte, 100), nil, "nothing but NULs"},
		{"garbage behind the base", append(bytes.Clone(zstd), "garbage"...), nil, fmt.Sprintf("cannot be appended to: neither an archive nor compressed data at offset %d", len(zstd))},
		{"garbage behind ours", append(join(t, zstd, s), "garbage"...), nil, "cannot be appended to"},
		{"torn base", zstd[:len(zstd)-10], nil, "zstd data is torn: the image ends inside it at offset 0"},
		{"torn plain base", baseArchive()[:1000], nil, "archive is torn: the image ends inside it at offset 0"},
		{"other base", other, zstd, "is neither base"},
		{"other base with our segment", join(t, other, s), zstd, "is neither base"},
		{"base changed at the end", append(bytes.Clone(zstd[:len(zstd)-1]), zstd[len(zstd)-1]^1), zstd, fmt.Sprintf("they differ at offset %d", len(zstd)-1)},
		{"base that is not pristine", zstd, join(t, zstd, s), "is not pristine"},
		{"empty base", zstd, []byte{}, "is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, c.image)
			var o Options
			if c.base != nil {
				o = b.withBase(c.base)
			}
			b.fails(s, o, c.want)
		})
	}
}

func TestInstall_refuses_what_is_no_file(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{1})
	dir := scratch(t)
	for name, make := range map[string]func(string) error{
		"is a directory":  func(p string) error { return os.Mkdir(p, 0o700) },
		"is a named pipe": mkfifo,
		"too many levels of symbolic links": func(p string) error {
			return errors.Join(os.Symlink("b", p), os.Symlink(filepath.Base(p), filepath.Join(filepath.Dir(p), "b")))
		},
		"no such file or directory": func(p string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			if name == "no such file or directory" {
				path = filepath.Join(path, "initrd")
			}
			if _, err := Install(ctx, path, s, Options{}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := Install(ctx, "", s, Options{}); err == nil || !strings.Contains(err.Error(), "no name given") {
		t.Errorf("error %v", err)
	}
	for _, path := range []string{"/", dir + "/", dir + "/..", "."} {
		if _, err := Install(ctx, path, s, Options{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("%q: error %v", path, err)
		}
	}
	b := newBoot(t, []byte{})
	b.fails(s, Options{Base: filepath.Join(b.dir, "missing")}, "no such file")
	b.fails(s, Options{Base: b.dir}, "is a directory, not a file")
}

// What cannot be looked into is refused, unless the caller says what it is.
func TestInstall_no_initrd(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	for _, base := range []string{"#!/bin/sh\n", "\x89LZO\x00\r\n\x1a\n data"} {
		b := newBoot(t, []byte(base))
		b.fails(s, Options{}, "at offset 0")
		o := b.withBase([]byte(base))
		for _, want := range []Action{Appended, Unchanged} {
			if res, err := Install(ctx, b.image, s, o); err != nil || res.Action != want || !bytes.Equal(readFile(t, b.image), join(t, []byte(base), s)) {
				t.Errorf("%q: %+v, %v", base, res, err)
			}
		}
		if _, err := Remove(ctx, b.image, o); err != nil || string(readFile(t, b.image)) != base {
			t.Errorf("%q: after removing %q, %v", base, readFile(t, b.image), err)
		}
	}
}

func TestInstall_base_is_the_image(t *testing.T) {
	t.Parallel()
	b := newBoot(t, baseArchive())
	b.fails(mustSegment(t, secrets("a"), Digest{}), Options{Base: b.image}, "is the image itself")
}

func TestInstall_no_entries_creates_no_file(t *testing.T) {
	t.Parallel()
	b := newBoot(t, nil)
	o := b.withBase(baseArchive())
	for _, o := range []Options{{}, o} {
		res, err := Install(ctx, b.image, mustSegment(t, nil, Digest{}), o)
		if err != nil || res.Action != Unchanged || res.Size != -1 {
			t.Errorf("result %+v, %v", res, err)
		}
		if n := names(t, b.dir); len(n) > 0 {
			t.Errorf("directory holds %q", n)
		}
	}
}

func TestInstall_hundred_times(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	base := compress(t, KindXZ, baseArchive())
	b := newBoot(t, base)
	times := 100
	if testing.Short() {
		times = 10
	}
	for i := range times {
		s := mustSegment(t, secrets(strings.Repeat("x", i%13), fmt.Sprint(i)), Digest{byte(i)})
		b.install(s, Options{}, map[bool]Action{true: Appended, false: Replaced}[i == 0])
		if got := readFile(t, b.image); !bytes.Equal(got, join(t, base, s)) {
			t.Fatalf("run %d: image of %d bytes", i, len(got))
		}
	}
}

func TestInstall_keeps_mode(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o400, 0o444, 0o600, 0o640, 0o755} {
		b := newBoot(t, baseArchive())
		if err := os.Chmod(b.image, mode); err != nil {
			t.Fatal(err)
		}
		res := b.install(mustSegment(t, secrets("a"), Digest{}), Options{}, Appended)
		fi, err := os.Stat(b.image)
		if err != nil || fi.Mode() != mode {
			t.Errorf("mode %v, want %v (%v)", fi.Mode(), mode, err)
		}
		if len(res.Warnings) > 0 {
			t.Errorf("mode %v below a closed directory: %+v", mode, res.Warnings)
		}
	}
}

func TestInstall_new_file_is_private_whatever_the_umask(t *testing.T) {
	b := newBoot(t, nil)
	defer umask(umask(0)) // GRUB calls with 0137
	b.install(mustSegment(t, secrets("a"), Digest{}), Options{}, Created)
	if fi, err := os.Stat(b.image); err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// An image whose segment says what base it has is not read as a whole: damage in the middle of it
// is mended with the new image, which is written from the base. Where the image's own copy of the
// base is to be kept, it is compared first.
func TestInstall_vouchedBase(t *testing.T) {
	t.Parallel()
	base := append(newc(rec{"f", typeRegular | 0o644, string(noise(1, 1<<20))}), make([]byte, 3)...)
	s, next := mustSegment(t, secrets("a"), Digest{1}), mustSegment(t, secrets("b"), Digest{2})
	image := join(t, base, s)
	image[len(base)/2] ^= 1

	b := newBoot(t, image)
	o := b.withBase(base)
	if res, err := Install(ctx, b.image, next, o); err != nil || res.Action != Replaced {
		t.Fatalf("%+v, %v", res, err)
	}
	if !bytes.Equal(readFile(t, b.image), join(t, base, next)) {
		t.Error("the new image is not made from the base")
	}

	b = newBoot(t, image)
	o = b.withBase(base)
	o.AllowInPlace = true
	o.layer = fullLayer{Layer: osLayer(), capacity: int64(len(image)) + 4096}
	b.fails(next, o, fmt.Sprintf("they differ at offset %d", len(base)/2))

	whole := join(t, base, s)
	b = newBoot(t, whole)
	o.Base = b.withBase(base).Base
	if res, err := Install(ctx, b.image, next, o); err != nil || !res.InPlace {
		t.Fatalf("%+v, %v", res, err)
	}
}
