package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/test/faults"
)

// fullLayer is a layer whose file system has little room.
type fullLayer struct {
	atomicfile.Layer
	capacity int64
	magic    int64 // of the file system
}

type fullDir struct {
	atomicfile.Dir
	path     string
	capacity int64
	magic    int64
}

func (l fullLayer) OpenDir(path string) (atomicfile.Dir, error) {
	d, err := l.Layer.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return fullDir{d, path, l.capacity, l.magic}, nil
}

func (d fullDir) Space() (atomicfile.Space, error) {
	s, err := d.Dir.Space()
	s.Free, s.Block, s.Type = d.capacity, 1, d.magic
	if fi, err := os.Lstat(filepath.Join(d.path, "initrd")); err == nil {
		s.Free -= fi.Size()
	}
	return s, err
}

// scenario is a run to be disturbed.
type scenario struct {
	name    string
	image   []byte // nil: missing
	base    []byte // nil: not known
	segment *Segment
	allow   bool
	free    int64 // bytes; 0: enough
	magic   int64 // of the file system; 0: of one that is like no other
	want    []byte
	keeps   []byte // what of the image must survive an overwriting; nil: the image is replaced as a whole
}

func scenarios(t testing.TB) []scenario {
	plain := newc(rec{"bin", typeDir | 0o755, ""}, rec{"bin/sh", typeRegular | 0o755, string(noise(5, 3000))})
	s1, s2 := mustSegment(t, secrets("first"), Digest{1}), mustSegment(t, secrets("second, longer"), Digest{2})
	same, none := mustSegment(t, secrets("other"), Digest{3}), mustSegment(t, nil, Digest{})
	return []scenario{
		{name: "create", segment: s1, want: join(t, nil, s1)},
		{name: "append", image: plain, segment: s1, want: join(t, plain, s1)},
		{name: "append, base known", image: plain, base: plain, segment: s1, want: join(t, plain, s1)},
		{name: "replace", image: join(t, plain, s1), segment: s2, want: join(t, plain, s2)},
		{name: "replace, base known", image: join(t, plain, s1), base: plain, segment: s2, want: join(t, plain, s2)},
		{name: "unchanged", image: join(t, plain, s1), base: plain, segment: s1, want: join(t, plain, s1)},
		{name: "repair", image: plain[:1000], base: plain, segment: s1, want: join(t, plain, s1)},
		{name: "remove", image: join(t, plain, s1), segment: none, want: plain},
		{name: "append in place", image: plain, segment: s1, free: 2000, want: join(t, plain, s1), keeps: plain},
		{name: "repair in place", image: join(t, plain, s1)[:len(plain)+700], segment: s2, free: 2000, want: join(t, plain, s2), keeps: plain},
		{name: "replace in place", image: join(t, plain, s1), base: plain, segment: s2, allow: true, free: 1000, want: join(t, plain, s2), keeps: plain},
		{name: "equal in place", image: join(t, plain, s1), segment: same, allow: true, free: 1000, want: join(t, plain, same), keeps: plain},
		{name: "shorter in place", image: join(t, plain, s2), segment: s1, allow: true, free: 1000, want: filled(join(t, plain, s1), len(join(t, plain, s2))), keeps: plain},
		{name: "file of its own in place", image: join(t, nil, s1), segment: s2, allow: true, free: 1000, want: join(t, nil, s2), keeps: []byte{}},
		{name: "remove in place on vfat", image: join(t, plain, s1), segment: none, allow: true, free: 1000, magic: unix.MSDOS_SUPER_MAGIC, want: filled(plain, len(join(t, plain, s1))), keeps: plain},
		{name: "remove in place", image: join(t, plain, s1), segment: none, allow: true, free: 1000, want: plain, keeps: plain},
	}
}

// filled is an image followed by NULs up to a length.
func filled(image []byte, size int) []byte { return append(image, make([]byte, size-len(image))...) }

func (s *scenario) set(t testing.TB) (*boot, Options) {
	b := newBoot(t, s.image)
	o := Options{AllowInPlace: s.allow}
	if s.base != nil {
		o.Base = b.withBase(s.base).Base
	}
	return b, o
}

// layer puts faults below the fullness, so that asking for space can fail, too.
func (s *scenario) layer(l atomicfile.Layer) atomicfile.Layer {
	if s.free > 0 {
		return fullLayer{Layer: l, capacity: int64(len(s.image)) + s.free, magic: s.magic}
	}
	return l
}

// Every operation of every way to write is failed, or the program stopped at it. Afterwards the
// image is the old or the new one (or, after an overwriting, its base is intact), the error says
// which, nothing is left behind that holds a secret, and the next run mends everything.
func TestInstall_faults(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b, o := s.set(t)
			count := faults.Count(atomicfile.OS())
			o.layer = s.layer(count)
			if _, err := Install(ctx, b.image, s.segment, o); err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, b.image); !bytes.Equal(got, s.want) {
				t.Fatalf("image of %d bytes, want %d", len(got), len(s.want))
			}
			if leaked := count.Leaked(); len(leaked) > 0 {
				t.Errorf("left open: %q", leaked)
			}
			checkOrder(t, count.Ops(), s.keeps != nil)
			for at, op := range count.Ops() {
				for _, mode := range []faults.Mode{faults.Fail, faults.After, faults.Short, faults.Gone, faults.Kill, faults.Half} {
					for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
						if mode >= faults.Kill && !errors.Is(cause, syscall.EIO) {
							continue // who is stopped hears of no cause
						}
						name := fmt.Sprintf("%d %s %v %v", at, strings.Fields(op)[0], mode, cause)
						t.Run(name, func(t *testing.T) { s.disturb(t, mode, at, cause) })
					}
				}
			}
		})
	}
}

// checkOrder makes sure that the file is synced between rename and the directory's sync, which
// vfat needs.
func checkOrder(t *testing.T, ops []string, inPlace bool) {
	t.Helper()
	for i, op := range ops {
		if !strings.HasPrefix(op, "rename ") {
			continue
		}
		temp := strings.Fields(op)[1]
		if inPlace || ops[i-1] != "lstat initrd" && ops[i-1] != "sync "+temp || ops[i+1] != "sync "+temp || !strings.HasPrefix(ops[i+2], "sync /") {
			t.Errorf("operations %q", ops)
		}
	}
}

func (s *scenario) disturb(t *testing.T, mode faults.Mode, at int, cause error) {
	b, o := s.set(t)
	l := faults.New(atomicfile.OS(), mode, at, cause)
	o.layer = s.layer(l)
	res, err := Install(ctx, b.image, s.segment, o)
	stopped := mode == faults.Kill || mode == faults.Half
	if leaked := l.Leaked(); len(leaked) > 0 {
		t.Errorf("left open: %q", leaked)
	}
	got := []byte(nil)
	if n := names(t, b.dir); len(n) > 0 && n[len(n)-1] == "initrd" {
		got = readFile(t, b.image)
	}
	s.checkState(t, got, err, mode == faults.Gone)
	if err != nil && !stopped && !errors.Is(err, cause) {
		t.Errorf("error %q does not tell %v", err, cause)
	}
	readEnough := mode == faults.Short // of a read that was cut short the first half may be all that was needed
	if err == nil && res.Action != Unchanged && len(res.Warnings) == 0 && mode != faults.After && !readEnough {
		t.Errorf("neither error nor warning; operations %q", l.Ops())
	}
	if !stopped && mode != faults.Gone {
		for _, n := range names(t, b.dir) {
			if n != "initrd" {
				t.Errorf("left behind: %s", n)
			}
		}
	}
	o.layer = s.layer(atomicfile.OS())
	if _, err := Install(ctx, b.image, s.segment, o); err != nil {
		t.Fatalf("second run: %v", err)
	}
	if got := readFile(t, b.image); !bytes.Equal(got, s.want) {
		t.Errorf("after the second run the image has %d bytes, want %d", len(got), len(s.want))
	}
	if n := names(t, b.dir); len(n) != 1 {
		t.Errorf("after the second run the directory holds %q", n)
	}
}

// checkState checks that the image is one it may be, and the one that the error says.
func (s *scenario) checkState(t *testing.T, got []byte, err error, gone bool) {
	t.Helper()
	isOld := bytes.Equal(got, s.image) && (got == nil) == (s.image == nil)
	isNew := bytes.Equal(got, s.want)
	switch {
	case err == nil && !isNew:
		t.Errorf("no error, and the image is not the new one")
	case s.keeps == nil && !isOld && !isNew:
		t.Errorf("image of %d bytes is neither the old nor the new one", len(got))
	case s.keeps != nil && !bytes.HasPrefix(got, s.keeps):
		t.Errorf("the base is damaged")
	}
	if err == nil || errors.Is(err, faults.ErrKilled) {
		return
	}
	var h interface{ Hints() []string }
	if !errors.As(err, &h) {
		t.Fatalf("no hint in %v", err)
	}
	hint := h.Hints()[0]
	ok := map[string]bool{
		"the image was not changed": isOld,
		"the image is the new one":  isNew,
		"the image holds its base":  withoutSecretsToUse(got, s.keeps),
		"the image may hold":        true,
	}
	for text, true_ := range ok {
		if strings.HasPrefix(hint, text) {
			if !true_ {
				t.Errorf("hint %q is not so", hint)
			}
			return
		}
	}
	t.Errorf("hint %q says nothing of the image", hint)
}

// withoutSecretsToUse reports whether what is behind the base cannot make the kernel use a file:
// nothing, NULs, or an archive of which the first file reaches to the end of the image.
func withoutSecretsToUse(image, base []byte) bool {
	if !bytes.HasPrefix(image, base) {
		return false
	}
	tail := image[len(base):]
	if len(bytes.Trim(tail, "\x00")) == 0 {
		return true
	}
	a := archive{src: newWindow(bytes.NewReader(image), int64(len(base))+Padding(int64(len(base))), int64(len(image)))}
	h, err := a.next()
	return err == nil && h.data+int64(h.size) >= int64(len(tail))
}

// A full disk that shows itself only when the data is written, as with delayed allocation, leads
// to the same decisions as one that is seen before.
func TestInstall_late_no_space(t *testing.T) {
	t.Parallel()
	plain := newc(rec{"bin/sh", typeRegular | 0o755, string(noise(5, 3000))})
	s1, s2 := mustSegment(t, secrets("first"), Digest{1}), mustSegment(t, secrets("second"), Digest{2})
	for _, verb := range []string{"create", "copy", "write", "sync"} {
		for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			for _, c := range []struct {
				name    string
				image   []byte
				allow   bool
				inPlace bool
			}{
				{"first segment", plain, false, true},
				{"whole segment", join(t, plain, s1), false, false},
				{"whole segment, allowed", join(t, plain, s1), true, true},
			} {
				t.Run(fmt.Sprintf("%s %v %s", verb, cause, c.name), func(t *testing.T) {
					t.Parallel()
					b := newBoot(t, c.image)
					count := faults.Count(atomicfile.OS())
					if _, err := Install(ctx, newBoot(t, c.image).image, s2, Options{layer: count}); err != nil {
						t.Fatal(err)
					}
					at := 0
					for !strings.HasPrefix(count.Ops()[at], verb+" ") {
						at++
					}
					res, err := Install(ctx, b.image, s2, Options{AllowInPlace: c.allow, layer: faults.New(atomicfile.OS(), faults.Short, at, cause)})
					if c.inPlace {
						if err != nil || !res.InPlace || len(res.Warnings) != 1 {
							t.Fatalf("result %+v, %v", res, err)
						}
						b.checkResult(res)
						return
					}
					var full *NoSpaceError
					if !errors.As(err, &full) || !full.Allow || !errors.Is(err, cause) {
						t.Fatalf("error %v", err)
					}
					if !bytes.Equal(readFile(t, b.image), c.image) || len(names(t, b.dir)) != 1 {
						t.Errorf("the image or the directory changed")
					}
				})
			}
		}
	}
}

func TestInstall_changed_meanwhile(t *testing.T) {
	t.Parallel()
	for _, image := range [][]byte{nil, baseArchive()} {
		b := newBoot(t, image)
		l := &meddler{Layer: atomicfile.OS(), do: func() {
			writeFile(t, b.image+"2", []byte("somebody else's"))
			if err := os.Rename(b.image+"2", b.image); err != nil {
				t.Error(err)
			}
		}}
		_, err := Install(ctx, b.image, mustSegment(t, secrets("a"), Digest{}), Options{layer: l})
		if err == nil || !strings.Contains(err.Error(), "changed by somebody else") {
			t.Errorf("error %v", err)
		}
		if got := readFile(t, b.image); string(got) != "somebody else's" || len(names(t, b.dir)) != 1 {
			t.Errorf("image %q, directory %q", got, names(t, b.dir))
		}
	}
}

// A directory that is exchanged while a run works in it: neither the old nor the new one changes.
func TestInstall_directory_exchanged(t *testing.T) {
	t.Parallel()
	for _, image := range [][]byte{nil, baseArchive()} {
		b := newBoot(t, image)
		moved := b.dir + "-moved"
		l := &meddler{Layer: atomicfile.OS(), do: func() {
			if err := errors.Join(os.Rename(b.dir, moved), os.Mkdir(b.dir, 0o700)); err != nil {
				t.Error(err)
			}
		}}
		_, err := Install(ctx, b.image, mustSegment(t, secrets("a"), Digest{}), Options{layer: l})
		if err == nil || !strings.Contains(err.Error(), "its directory was exchanged") {
			t.Errorf("error %v", err)
		}
		if n := names(t, b.dir); len(n) != 0 {
			t.Errorf("new directory holds %q", n)
		}
		if n := names(t, moved); image == nil && len(n) != 0 || image != nil && !bytes.Equal(readFile(t, moved+"/initrd"), image) {
			t.Errorf("old directory holds %q", n)
		}
	}
}

// meddler does something just before, or after, a temporary file is made.
type meddler struct {
	atomicfile.Layer
	do      func()
	created func(name string)
}

type meddlerDir struct {
	atomicfile.Dir
	m *meddler
}

func (m *meddler) OpenDir(path string) (atomicfile.Dir, error) {
	d, err := m.Layer.OpenDir(path)
	return meddlerDir{d, m}, err
}

func (d meddlerDir) Create(name string) (atomicfile.File, error) {
	if d.m.do != nil {
		d.m.do()
	}
	f, err := d.Dir.Create(name)
	if d.m.created != nil {
		d.m.created(name)
	}
	return f, err
}
