package initrd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

// enclosedImage is an image as Install makes it.
func enclosedImage(t testing.TB, s *Segment) []byte {
	t.Helper()
	b, err := enclose(join(t, nil, s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is inside can be read by us, at any offset, and by others.
func TestEnclose(t *testing.T) {
	t.Parallel()
	begin := join(t, nil, mustSegment(t, secrets("a"), Digest{}))
	for _, n := range []int{1000, zstdBlock - 1, zstdBlock, zstdBlock + 1, 2 * zstdBlock, 3*zstdBlock + 17} {
		content := append(bytes.Clone(begin), noise(1, n-min(n, len(begin)))...)
		file, err := enclose(content)
		if err != nil || int64(len(file)) != enclosedSize(int64(len(content))) {
			t.Fatalf("%d bytes: %d, %v", n, len(file), err)
		}
		inside, err := openEnclosed(bytes.NewReader(file), int64(len(file)))
		if err != nil || inside == nil || inside.size != int64(len(content)) {
			t.Fatalf("%d bytes: inside %v, %v", n, inside, err)
		}
		for _, at := range []int64{0, 1, zstdBlock - 3, zstdBlock, inside.size - 7} {
			got := make([]byte, max(0, min(7, inside.size-at)))
			if at >= inside.size {
				continue
			}
			if err := readAt(inside, got, at); err != nil || !bytes.Equal(got, content[at:][:len(got)]) {
				t.Errorf("%d bytes, at %d: %x, %v", n, at, got, err)
			}
		}
		d, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := d.DecodeAll(file[enclosedLead:], nil)
		d.Close()
		if err != nil || !bytes.Equal(other, content) {
			t.Errorf("%d bytes: the library reads %d, %v", n, len(other), err)
		}
	}
}

func TestInstall_enclosed(t *testing.T) {
	t.Parallel()
	big := secrets(strings.Repeat("0123456789", 40_000))
	s, next := mustSegment(t, big, Digest{1}), mustSegment(t, secrets("b"), Digest{2})
	enc := Options{Enclose: true}
	b := newBoot(t, nil)
	b.install(s, enc, Created)
	if !bytes.Equal(readFile(t, b.image), enclosedImage(t, s)) {
		t.Error("other bytes")
	}
	b.install(s, enc, Unchanged)
	b.install(next, enc, Replaced)

	t.Run("form changes", func(t *testing.T) {
		t.Parallel()
		b := newBoot(t, enclosedImage(t, s))
		b.install(s, Options{}, Replaced)
		if !bytes.Equal(readFile(t, b.image), join(t, nil, s)) {
			t.Error("other bytes")
		}
		b.install(s, enc, Replaced)
		base := b.withBase(baseArchive())
		b.install(next, base, Replaced) // a file of its own stays one
	})
	t.Run("torn", func(t *testing.T) {
		t.Parallel()
		whole := enclosedImage(t, s)
		for _, n := range []int{200, 5000, zstdBlock, zstdBlock + enclosedHead + 2, 2*zstdBlock + 9, len(whole) - 1} {
			b := newBoot(t, whole[:n])
			b.install(s, enc, Repaired)
		}
		damaged := bytes.Clone(whole)
		damaged[enclosedSize(zstdBlock)]++ // the header of the second block, without which the kernel has no archive
		b := newBoot(t, damaged)
		if i, err := Open(b.image); err != nil || i.Verify(ctx, nil) == nil {
			t.Errorf("a damaged frame is whole: %v", err)
		}
		b.install(s, enc, Repaired)
	})
	t.Run("something else", func(t *testing.T) {
		t.Parallel()
		other, err := enclose(baseArchive())
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range [][]byte{baseArchive(), other, join(t, baseArchive(), s), append(enclosedImage(t, s), 'x')} {
			newBoot(t, image).fails(next, enc, "holds something else than enclosed secrets")
		}
	})
}

// An enclosed image kept its secrets after they were removed.
func TestRemove_enclosed(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{1})
	whole := enclosedImage(t, s)
	for name, image := range map[string][]byte{"whole": whole, "torn": whole[:len(whole)/2]} {
		for _, o := range []Options{{}, {Enclose: true}} {
			b := newBoot(t, image)
			res, err := Remove(ctx, b.image, o)
			if err != nil || res.Action != Removed || res.Size != -1 || res.Cut != int64(len(image)) {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
			if n := names(t, b.dir); len(n) != 0 {
				t.Errorf("%s: directory holds %q", name, n)
			}
		}
	}
	// A version before this one put a plain segment behind an enclosed one.
	b := newBoot(t, join(t, whole, s))
	if _, err := Remove(ctx, b.image, Options{}); err != nil || len(readFile(t, b.image)) != 0 {
		t.Errorf("%d bytes left, %v", len(readFile(t, b.image)), err)
	}
	b = newBoot(t, whole)
	b.install(mustSegment(t, nil, Digest{}), Options{Enclose: true}, Removed)
}

// An entry below a symbolic link of the base replaced the link.
func TestInstall_enclosed_compares_with_base(t *testing.T) {
	t.Parallel()
	for _, image := range [][]byte{nil, enclosedImage(t, mustSegment(t, secrets("a"), Digest{1}))} {
		b := newBoot(t, image)
		o := b.withBase(fitBase(t))
		o.Enclose = true
		b.fails(mustSegment(t, []Entry{entryAt("/lib/x")}, Digest{2}), o, "the base has a symbolic link there")
		b.fails(mustSegment(t, []Entry{entryAt("/etc/x")}, Digest{2}), Options{Enclose: true}, "has no base")
		b.install(mustSegment(t, []Entry{entryAt("/etc/x")}, Digest{2}), o, map[bool]Action{true: Created, false: Replaced}[image == nil])
	}
}

// A run that works in the directory is waited for, in every form, and until a
// signal comes.
func TestInstall_waits(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{1})
	for _, o := range []Options{{}, {Enclose: true}} {
		b := newBoot(t, nil)
		dir, err := osLayer().OpenDir(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		info, err := dir.Stat()
		if err != nil {
			t.Fatal(err)
		}
		held, err := atomicfile.LockDir(t.Context(), info)
		if err != nil {
			t.Fatal(err)
		}
		signal := errors.New("a signal")
		waiting, stop := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() {
			_, err := Install(waiting, b.image, s, o)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
			stop(signal)
		}
		if err := <-done; !errors.Is(err, signal) || len(names(t, b.dir)) != 0 {
			t.Errorf("%v, directory holds %q", err, names(t, b.dir))
		}
		go func() {
			_, err := Install(t.Context(), b.image, s, o)
			done <- err
		}()
		if err := held.Remove(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// After a signal nothing is begun, wherever the run is.
func TestInstall_stopped(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{1})
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, o := range map[string]Options{"plain": {}, "enclosed": {Enclose: true}} {
		b := newBoot(t, nil)
		_, err := Install(stopped, b.image, s, o)
		var failed *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &failed) || failed.State != Untouched {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(b.image); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the image exists: %v", name, err)
		}
	}
	b := newBoot(t, baseArchive())
	before := snapshot(t, b.dir)
	if _, err := Plan(stopped, b.image, s, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	i, err := Open(b.image)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, err := i.Layout(stopped); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if after := snapshot(t, b.dir); after != before {
		t.Errorf("directory changed:\n%s\n%s", before, after)
	}
}

// What is not looked into can hold a segment all the same, where the base is known.
func TestInstall_not_looked_into(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{1})
	for _, base := range []string{"BZh9 data", "\x5d\x00\x00\x80\x00 data", "\x89LZO\x00 data"} {
		b := newBoot(t, []byte(base))
		o := b.withBase([]byte(base))
		res, err := Install(ctx, b.image, s, o)
		if err != nil || res.Action != Appended {
			t.Fatal(res, err)
		}
		image := readFile(t, b.image)
		if l, err := inspect(bytes.NewReader(image), int64(len(image))); err != nil || len(l.Parts) != 3 || len(l.Parts[2].Files) == 0 {
			t.Errorf("%+v, %v", l, err)
		}
		b.install(s, Options{}, Unchanged)
		if res, err := Remove(ctx, b.image, Options{}); err != nil || string(readFile(t, b.image)) != base {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// Data that unpacks to a million times its size does not keep a run from ending.
func TestLayout_stopped(t *testing.T) {
	t.Parallel()
	bomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}
	bomb = append(bomb, bytes.Repeat([]byte{0x02, 0x00, 0x10, 0x00}, 100_000)...)
	bomb = append(bomb, 0x03, 0x00, 0x10, 0x00) // the last block
	waiting, stop := context.WithCancel(t.Context())
	stopped := &walker{ctx: waiting, r: bytes.NewReader(bomb), size: int64(len(bomb))}
	stop()
	if err := stopped.walk(); !errors.Is(err, context.Canceled) || stopped.unpacked > bufferBytes {
		t.Errorf("%d bytes unpacked, %v", stopped.unpacked, err)
	}
}
