package initrd

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/test/faults"
)

// Nothing of a base but its ends is read, whatever its size, when there is nothing to do, or when
// the image is a new file. Otherwise it is read once, to be copied.
func TestInstall_cost(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	next := mustSegment(t, secrets("b"), Digest{})
	const constant = 8 * bufferBytes
	for _, size := range []int{1 << 20, 8 << 20} {
		base := append(newc(rec{"f", typeRegular | 0o644, string(noise(1, size))}), make([]byte, 3)...)
		for _, c := range []struct {
			name              string
			image             []byte
			known             bool
			s                 *Segment
			imageMax, baseMax int64
			written           int64
		}{
			{"new file", nil, true, s, 0, constant, int64(len(join(t, nil, s)))},
			{"unchanged", join(t, base, s), false, s, constant, 0, 0},
			{"unchanged, base known", join(t, base, s), true, s, constant, constant, 0},
			{"changed", join(t, base, s), false, next, int64(len(base)) + constant, 0, int64(len(join(t, base, next)))},
			{"changed, base known", join(t, base, s), true, next, constant, int64(len(base)) + constant, int64(len(join(t, base, next)))},
		} {
			t.Run(fmt.Sprintf("%s %d", c.name, size), func(t *testing.T) {
				t.Parallel()
				b := newBoot(t, c.image)
				l := faults.Count(atomicfile.OS())
				o := Options{layer: l}
				if c.known {
					o.Base = b.withBase(base).Base
				}
				res, err := Install(ctx, b.image, c.s, o)
				if err != nil {
					t.Fatal(err)
				}
				if n := l.BytesRead("initrd"); n > c.imageMax {
					t.Errorf("read %d bytes of the image, want at most %d", n, c.imageMax)
				}
				if n := l.BytesRead(b.base); n > c.baseMax {
					t.Errorf("read %d bytes of the base, want at most %d", n, c.baseMax)
				}
				if n := l.BytesWritten(); n != c.written || res.Written != n {
					t.Errorf("wrote %d bytes, result says %d, want %d", n, res.Written, c.written)
				}
			})
		}
	}
}

// Runs in one directory wait for each other; a reader of the old image goes on reading it.
func TestInstall_concurrent(t *testing.T) {
	t.Parallel()
	base := baseArchive()
	b := newBoot(t, base)
	reader, err := os.Open(b.image)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()

	segments := make([]*Segment, 8)
	images := make(map[string]bool)
	for i := range segments {
		segments[i] = mustSegment(t, secrets(fmt.Sprint("value ", i)), Digest{byte(i)})
		images[string(join(t, base, segments[i]))] = true
	}
	var runs, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if got := readFile(t, b.image); !bytes.Equal(got, base) && !images[string(got)] {
				t.Errorf("a reader saw an image of %d bytes that nobody installed", len(got))
				return
			}
		}
	})
	for _, s := range segments {
		for range 5 {
			runs.Go(func() {
				if _, err := Install(ctx, b.image, s, Options{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	runs.Wait()
	close(done)
	readers.Wait()
	if !images[string(readFile(t, b.image))] || len(names(t, b.dir)) != 1 {
		t.Errorf("directory holds %q", names(t, b.dir))
	}
	old := make([]byte, len(base))
	if err := readAt(reader, old, 0); err != nil || !bytes.Equal(old, base) {
		t.Errorf("the old image, still open, changed: %v", err)
	}
}

func BenchmarkInstall(b *testing.B) {
	base := append(newc(rec{"f", typeRegular | 0o644, string(noise(1, 60<<20))}), 0)
	three := mustSegment(b, secrets("one", "two", "three"), Digest{})
	other := mustSegment(b, secrets("one", "two", "four"), Digest{})
	dir := b.TempDir() // on the disk, as /boot is
	image, pristine := dir+"/initrd", dir+"/pristine"
	writeFile(b, pristine, base)
	set := func(b *testing.B, content []byte) {
		b.Helper()
		b.StopTimer()
		if err := os.Remove(image); err != nil && !os.IsNotExist(err) {
			b.Fatal(err)
		}
		if content != nil {
			writeFile(b, image, content)
		}
		b.StartTimer()
	}
	install := func(b *testing.B, s *Segment, known string, want Action) {
		b.Helper()
		if res, err := Install(ctx, image, s, Options{Base: known}); err != nil || res.Action != want {
			b.Fatal(res, err)
		}
	}
	full := join(b, base, three)
	for _, known := range []string{"", pristine} {
		name := map[bool]string{true: "alone", false: "base"}[known == ""]
		b.Run("new/"+name, func(b *testing.B) {
			for b.Loop() {
				set(b, nil)
				install(b, three, known, Created)
			}
		})
		b.Run("unchanged/"+name, func(b *testing.B) {
			set(b, full)
			for b.Loop() {
				install(b, three, known, Unchanged)
			}
		})
		b.Run("first/"+name, func(b *testing.B) {
			for b.Loop() {
				set(b, base)
				install(b, three, known, Appended)
			}
		})
		b.Run("changed/"+name, func(b *testing.B) {
			set(b, full)
			for i := 0; b.Loop(); i++ {
				install(b, []*Segment{other, three}[i%2], known, Replaced)
			}
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	plain := newc(rec{"f", typeRegular | 0o644, string(noise(1, 16<<20))})
	for kind := range compressors() {
		b.Run(kind, func(b *testing.B) {
			image := compress(b, kind, plain)
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				if l, err := inspect(bytes.NewReader(image), int64(len(image))); err != nil || !l.Complete() {
					b.Fatal(l, err)
				}
			}
		})
	}
}
