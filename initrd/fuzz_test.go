package initrd

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make testdata/images with the programs of this machine")

// corpus is the images of testdata/images, made by the real compressors, and what a run or a
// fault makes of them.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/images/*")
	if err != nil || len(paths) < len(compressors()) {
		t.Fatalf("%q, %v", paths, err)
	}
	images := map[string][]byte{"none": {}, "NULs": make([]byte, 64)}
	for _, p := range paths {
		images[filepath.Base(p)] = readFile(t, p)
	}
	s, other := mustSegment(t, secrets("one"), Digest{1}), mustSegment(t, sample(), Digest{2})
	for name, base := range images {
		image := join(t, base, s)
		images[name+", installed"] = image
		images[name+", installed twice"] = join(t, image, other)
		images[name+", torn"] = image[:len(image)-300]
		images[name+", torn early"] = image[:len(base)+20]
		images[name+", newer"] = newerVersion(t, base, s)
		images[name+", halted"] = haltedImage(image, base)
		images[name+", NULs behind"] = append(bytes.Clone(image), make([]byte, 700)...)
		images[name+", stock"] = append(bytes.Clone(base), images["zstd"]...)
		if len(images) > 60 {
			break
		}
	}
	return images
}

// The seeds reach what the fuzz tests are about.
func TestCorpus(t *testing.T) {
	if *update {
		makeCorpus(t)
	}
	t.Parallel()
	found := map[string]int{}
	for name, image := range corpus(t) {
		l, err := inspect(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Parts {
			found[p.Kind]++
			if p.Kind == KindSegment && p.Segment.Whole {
				found["whole"]++
			}
			if p.Microcode {
				found["microcode"]++
			}
			found["torn"] += strings.Count(p.Problem, "torn")
		}
		if kind, plain := strings.CutSuffix(name, ", installed"); plain && compressors()[kind] != nil && !l.Complete() {
			t.Errorf("%s: %+v", name, l.Parts)
		}
	}
	for _, kind := range []string{
		KindSegment, KindCPIO, KindGzip, KindXZ, KindLZ4, KindZstd, KindPadding, "whole", "microcode", "torn",
	} {
		if found[kind] == 0 {
			t.Errorf("no seed has %s: %v", kind, found)
		}
	}
}

func makeCorpus(t *testing.T) {
	plain := newc(rec{"a", typeDir | 0o755, ""}, rec{"a/b", typeRegular | 0o644, strings.Repeat("text ", 60)}, rec{"l", typeSymlink | 0o777, "a"})
	early := newc(rec{"kernel/x86/microcode/GenuineIntel.bin", typeRegular | 0o644, "x"})
	for kind := range compressors() {
		writeFile(t, filepath.Join("testdata/images", kind), compress(t, kind, plain))
	}
	writeFile(t, "testdata/images/microcode", append(append(bytes.Clone(early), make([]byte, 8)...), compress(t, KindZstd, plain)...))
}

// The walk of any image ends, needs little memory, and covers the image; what it calls a whole
// segment of ours is one.
func FuzzInspect(f *testing.F) {
	for _, image := range corpus(f) {
		f.Add(image)
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		w := &walker{r: bytes.NewReader(image), size: int64(len(image)), limit: 32 << 20}
		if err := w.walk(); err != nil {
			t.Fatal(err)
		}
		off := int64(0)
		for i, p := range w.parts {
			if p.Offset != off || p.Size <= 0 || p.Unpacked < 0 {
				t.Fatalf("part %d at %d, want %d: %+v", i, p.Offset, off, p)
			}
			if p.stop != (p.stop && p.Problem != "" && i == len(w.parts)-1) {
				t.Fatalf("part %d stops: %+v", i, p)
			}
			off += p.Size
			if p.Kind == KindSegment {
				checkOurs(t, image, p.Segment)
			}
		}
		if off != int64(len(image)) {
			t.Fatalf("parts end at %d of %d", off, len(image))
		}
		checkFind(t, image, w)
	})
}

// checkOurs checks that what is called a segment of ours lies in the image, and is what this
// package would write if it is whole.
func checkOurs(t *testing.T, image []byte, in *Installed) {
	t.Helper()
	if in.Base < 0 || in.Base > in.Offset || in.Offset+in.Length > int64(len(image)) || len(bytes.Trim(image[in.Base:in.Offset], "\x00")) > 0 {
		t.Fatalf("%+v does not lie in an image of %d bytes", in, len(image))
	}
	if !in.Whole {
		return
	}
	s, err := extract(bytes.NewReader(image), in, nixos())
	if errors.Is(err, ErrDamaged) {
		return // with sums that are right: made so by somebody
	}
	if err != nil {
		t.Fatal(err)
	}
	// Where the marker lies about its place, only the walk proves it.
	m, err := decodeMarker(image[in.Offset+int64(beginHead):])
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Bytes(m.base)
	if err != nil || !bytes.Equal(again, image[in.Offset:in.Offset+in.Length]) {
		t.Fatalf("%v: written again, the segment differs", err)
	}
}

// checkFind checks that Find sees what the walk sees at the end of the image.
func checkFind(t *testing.T, image []byte, w *walker) {
	t.Helper()
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		if !errors.Is(err, ErrNoSegment) {
			t.Fatal(err)
		}
		return
	}
	checkOurs(t, image, in)
	if in.Base+in.Padding != in.Offset || in.Padding != Padding(in.Base) || in.Offset+in.Length+in.Trailing != int64(len(image)) {
		t.Fatalf("found %+v in an image of %d bytes", in, len(image))
	}
	for _, p := range w.parts {
		if p.Kind == KindSegment && p.Offset == in.Offset && in.Whole && (p.Segment.Sum != in.Sum || !p.Segment.Whole) {
			t.Fatalf("found %+v, walked %+v", in, p.Segment)
		}
	}
}

// Any entries that are taken come out of the segment as they went in, for all readers alike.
func FuzzNewSegment(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, []byte("etc/luks.key\x00/a\x00../b\x00TRAILER!!!\x00a/b/c"), uint32(0o644), uint32(seed), int64(seed*1001))
	}
	f.Fuzz(func(t *testing.T, seed uint64, paths []byte, mode, id uint32, base int64) {
		if base < 0 || base > 1<<50 {
			return
		}
		entries := fuzzEntries(seed, paths, mode, id)
		s, err := newSegment(entries, Digest{byte(seed)})
		if err != nil {
			return
		}
		b, err := s.Bytes(base)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, ownList(t, b), urootList(t, b))
		diff(t, ownList(t, b), cavalierList(t, b))
		var got []Entry
		if _, err := readSegment(bytes.NewReader(b), 0, int64(len(b)), func(e Entry, a *archive) error {
			e, err := readContent(e, a)
			got = append(got, e)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		byPath := map[string]Entry{}
		for _, e := range got {
			byPath[e.Path] = e
		}
		for _, e := range entries {
			if !sameEntry(byPath[e.Path], e) {
				t.Fatalf("entry %v came out as %v", e, byPath[e.Path])
			}
		}
		again, err := newSegment(got, Digest{byte(seed)})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := again.Bytes(base); err != nil || !bytes.Equal(b, c) {
			t.Fatalf("made again of its entries, the segment differs: %v", err)
		}
	})
}

// fuzzEntries makes entries of arbitrary paths and numbers.
func fuzzEntries(seed uint64, paths []byte, mode, id uint32) []Entry {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var entries []Entry
	for _, p := range strings.Split(string(paths), "\x00") {
		e := Entry{Path: p, UID: id, GID: id ^ rnd.Uint32(), Mode: fs.FileMode(mode) & fs.ModePerm}
		if rnd.IntN(4) > 0 {
			e.Path = secretsDir + "/" + p
		}
		switch rnd.IntN(5) {
		case 0:
			e.Mode |= fs.ModeDir | fs.ModeSetgid
		case 1:
			e.Mode, e.Target = fs.ModeSymlink|0o777, "to/"+p
		default:
			e.Data = noise(seed, rnd.IntN(300))
		}
		entries = append(entries, e)
	}
	return entries
}

// Whatever the image is, installing changes nothing, or ends with an image in which our segment
// is the last part and the only one of ours, and which a second run leaves alone; what is cut
// from it again is the same as if it had been cut at once.
func FuzzInstall(f *testing.F) {
	for _, image := range corpus(f) {
		for _, base := range []string{"none", KindZstd, KindCPIO} {
			f.Add(image, corpus(f)[base])
		}
	}
	s := mustSegment(f, secrets("new"), Digest{3})
	f.Fuzz(func(t *testing.T, image, base []byte) {
		b := newBoot(t, image)
		o := Options{}
		if len(base) > 0 {
			o = b.withBase(base)
		}
		_, err := Install(ctx, b.image, s, o)
		got := readFile(t, b.image)
		if err != nil {
			if !bytes.Equal(got, image) || len(names(t, b.dir)) != 1 {
				t.Fatalf("%v, and the image changed", err)
			}
			return
		}
		in, err := find(bytes.NewReader(got), int64(len(got)))
		if err != nil || !bytes.Equal(got, join(t, got[:in.Base], s)) {
			t.Fatalf("installed, and found %v, %v", in, err)
		}
		if len(base) > 0 && in.Base > 0 && !bytes.Equal(got[:in.Base], base) {
			t.Fatalf("the image is not made from its base")
		}
		l, err := inspect(bytes.NewReader(got), int64(len(got)))
		if err != nil {
			t.Fatal(err)
		}
		ours := 0
		for _, p := range l.Parts {
			if p.Kind == KindSegment {
				ours++
			}
		}
		if last := l.Parts[len(l.Parts)-1]; len(base) == 0 && !bytes.Equal(image, got) && l.Complete() && (ours != 1 || last.Kind != KindSegment) {
			t.Fatalf("parts %+v", l.Parts)
		}
		if res, err := Install(ctx, b.image, s, o); err != nil || res.Action != Unchanged {
			t.Fatalf("second run: %+v, %v", res, err)
		}
	})
}

// Headers that promise gigabytes do not get them.
func TestInspect_memory(t *testing.T) {
	images := map[string][]byte{
		"name of 4 GiB":          []byte("070701" + strings.Repeat("00000000", 11) + "FFFFFFFF" + "00000000" + "x\x00\x00"),
		"file of 4 GiB":          []byte("070701" + "00000001" + "000081A4" + strings.Repeat("00000000", 4) + "FFFFFFFF" + strings.Repeat("00000000", 4) + "00000002" + "00000000" + "x\x00"),
		"zstd window":            append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 1, 0, 0}, make([]byte, 100)...),
		"zstd content":           append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, append(bytes.Repeat([]byte{0x7f}, 8), 1, 0, 0)...),
		"xz dictionary":          xzWithDictionary(t, 40),
		"lz4 block":              {0x02, 0x21, 0x4c, 0x18, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4},
		"footer of 8 EiB":        replaceAll(t, "00000000000005", "7fffffffffff05"),
		"gzip with a long name":  append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), 100_000)...),
		"gzip with extra fields": append([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, make([]byte, 70_000)...),
	}
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			l, err := inspect(bytes.NewReader(image), int64(len(image)))
			runtime.ReadMemStats(&after)
			if err != nil || l.Complete() {
				t.Errorf("%+v, %v", l, err)
			}
			// The window of one decompressor, doubled for what it keeps beside it.
			if n := after.TotalAlloc - before.TotalAlloc; n > 2*maxWindowBytes+16<<20 {
				t.Errorf("%d MiB allocated for %d bytes: %+v", n>>20, len(image), l.Parts)
			}
		})
	}
}

func xzWithDictionary(t *testing.T, code byte) []byte {
	t.Helper()
	image := bytes.Clone(readFile(t, "testdata/images/xz"))
	at := bytes.Index(image, []byte{0x21, 0x01})
	if at < 0 {
		t.Fatal("no LZMA2 filter in the corpus")
	}
	image[at+2] = code
	return image
}

func replaceAll(t *testing.T, from, to string) []byte {
	t.Helper()
	image := join(t, nil, mustSegment(t, secrets("a"), Digest{}))
	out := bytes.ReplaceAll(image, []byte(from), []byte(to))
	if bytes.Equal(image, out) {
		t.Fatal("nothing replaced")
	}
	return append(out, "end"...)
}

// A stream that unpacks to far more than it is does not keep the walk busy for ever.
func TestInspect_bomb(t *testing.T) {
	t.Parallel()
	// A frame of blocks that each repeat a byte 128 KiB long: four bytes of image for 128 KiB of
	// data.
	bomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}
	for range 1000 {
		bomb = append(bomb, 0x02, 0x00, 0x10, 0x00)
	}
	bomb = append(bomb, 0x03, 0x00, 0x10, 0x00) // the last one
	w := &walker{r: bytes.NewReader(bomb), size: int64(len(bomb)), limit: 1 << 20}
	if err := w.walk(); err != nil || !strings.Contains(w.parts[0].Problem, "unpacks to more than 1048576 bytes") {
		t.Errorf("%+v, %v", w.parts, err)
	}
}
