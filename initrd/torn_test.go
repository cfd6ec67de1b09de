package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// tornBases are bases of both kinds that matter: what follows a plain one is found by its
// structure, what follows a compressed one by the end of the stream.
func tornBases(t testing.TB) map[string][]byte {
	plain := newc(rec{"a", typeRegular | 0o644, string(noise(7, 701))})
	return map[string][]byte{"plain": plain, "zstd": compress(t, KindZstd, plain), "none": {}}
}

// Wherever a power cut tears a segment, and whatever a file system leaves in place of what was
// not written, the next run puts a whole segment in its place, never behind it.
func TestInstall_torn_anywhere(t *testing.T) {
	t.Parallel()
	old := mustSegment(t, secrets("first", "another"), Digest{1})
	next := mustSegment(t, secrets("second"), Digest{2})
	for name, base := range tornBases(t) {
		image := join(t, base, old)
		start := len(base) + int(Padding(int64(len(base))))
		for _, rest := range []string{"cut", "NULs"} {
			for _, known := range []bool{false, true} {
				if known && len(base) == 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s %s base known=%v", name, rest, known), func(t *testing.T) {
					t.Parallel()
					b := newBoot(t, []byte{})
					o := Options{}
					if known {
						o = b.withBase(base)
					}
					const trailerNULs = 4
					step := 3
					if testing.Short() {
						step = 29
					}
					for at := start + 1; at < len(image)-trailerNULs; at += step {
						torn := bytes.Clone(image[:at])
						if rest == "NULs" {
							torn = append(torn, make([]byte, len(image)-at)...)
						}
						if in, err := find(bytes.NewReader(torn), int64(len(torn))); !errors.Is(err, ErrNoSegment) {
							t.Fatalf("cut at %d of the segment: found %v, %v", at-start, in, err)
						}
						writeFile(t, b.image, torn)
						kept := base
						if !known && at < start+beginHead+beginBytes {
							kept = image[:start-4] // without marker, where the NULs of the base end is not known
						}
						res, err := Install(ctx, b.image, next, o)
						if err != nil || res.Action != Repaired || !bytes.Equal(readFile(t, b.image), join(t, kept, next)) {
							t.Fatalf("cut at %d of the segment: %+v, %v", at-start, res, err)
						}
					}
				})
			}
		}
	}
}

// Blocks of a file can reach the disk in any order. Whatever set of a segment's sectors is
// missing, the next run does not take the rest for somebody else's archive and put another
// segment behind it.
func TestInstall_sectors_missing(t *testing.T) {
	t.Parallel()
	const sector = 512
	old := mustSegment(t, secrets("first", string(noise(1, 1500))), Digest{1})
	next := mustSegment(t, secrets("second"), Digest{2})
	for name, base := range tornBases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := join(t, base, old)
			first := (len(base) + 4) / sector
			count := (len(image)-1)/sector - first + 1
			b := newBoot(t, []byte{})
			refused := 0
			for mask := 1; mask < 1<<count; mask++ {
				torn := bytes.Clone(image)
				for i := range count {
					if mask>>i&1 == 1 {
						from := max((first+i)*sector, len(base))
						clear(torn[from:min((first+i+1)*sector, len(torn))])
					}
				}
				writeFile(t, b.image, torn)
				_, err := Install(ctx, b.image, next, Options{})
				got := readFile(t, b.image)
				if err != nil {
					refused++
					if !bytes.Equal(got, torn) {
						t.Fatalf("sectors %b: %v, but the image changed", mask, err)
					}
					continue
				}
				l, err := inspect(bytes.NewReader(got), int64(len(got)))
				if err != nil {
					t.Fatal(err)
				}
				in, err := find(bytes.NewReader(got), int64(len(got)))
				if err != nil || !bytes.Equal(got, join(t, got[:in.Base], next)) ||
					!bytes.HasPrefix(got, base) || len(bytes.Trim(got[len(base):in.Base], "\x00")) > 0 {
					t.Fatalf("sectors %b: parts %+v", mask, l.Parts)
				}
			}
			t.Logf("%d of %d refused", refused, 1<<count-1)
		})
	}
}

// haltedImage is an image while its end is overwritten in place.
func haltedImage(image, base []byte) []byte {
	image = bytes.Clone(image)
	halt(image[int64(len(base))+Padding(int64(len(base))):], int64(len(image)-len(base)))
	return image
}

// While an image is overwritten in place, any of its sectors may be the old or the new one. In
// none of these states does the kernel use a file, and the next run mends each, whether it knows
// the base or not.
func TestInstall_in_place_in_any_order(t *testing.T) {
	t.Parallel()
	const sector = 512
	segments := []*Segment{
		mustSegment(t, secrets("first"), Digest{1}), mustSegment(t, secrets("second", string(noise(1, 1200))), Digest{2}),
	}
	next := mustSegment(t, secrets("third"), Digest{3})
	for name, base := range tornBases(t) {
		for i, to := range segments {
			t.Run(fmt.Sprintf("%s to %d", name, i), func(t *testing.T) {
				t.Parallel()
				was, is := join(t, base, segments[1-i]), join(t, base, to)
				size := max(len(was), len(is))
				was, is = haltedImage(filled(was, size), base), haltedImage(filled(is, size), base)
				first := len(base) / sector
				count := (size-1)/sector - first + 1
				b := newBoot(t, []byte{})
				for mask := range 1 << count {
					state := bytes.Clone(was)
					for s := range count {
						if mask>>s&1 == 1 {
							at := (first + s) * sector
							copy(state[at:min(at+sector, size)], is[at:])
						}
					}
					if !withoutSecretsToUse(state, base) {
						t.Fatalf("sectors %b: the kernel uses files of it", mask)
					}
					if err := verify(bytes.NewReader(state), int64(size), nil); err == nil {
						t.Fatalf("sectors %b: taken for whole", mask)
					}
					writeFile(t, b.image, state)
					res, err := Install(ctx, b.image, next, Options{})
					if err != nil || res.Action != Repaired || !bytes.Equal(readFile(t, b.image), join(t, base, next)) {
						t.Fatalf("sectors %b: %+v, %v", mask, res, err)
					}
				}
			})
		}
	}
}

// What looks like a segment of ours inside somebody's file is that file's.
func TestInstall_marker_inside_a_file(t *testing.T) {
	t.Parallel()
	inner := join(t, []byte("070"), mustSegment(t, secrets("inner"), Digest{9}))
	whole := mustSegment(t, secrets("outer"), Digest{1})
	withFile := func(content []byte) []byte { return newc(rec{"f", typeRegular | 0o644, string(content)}) }
	aligned, err := mustSegment(t, secrets("inner"), Digest{9}).Bytes(0)
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string][]byte{
		"an image":                      withFile(inner),
		"a segment":                     withFile(aligned),
		"a segment without its trailer": withFile(aligned[:len(aligned)-trailerBytes]),
		"a torn segment":                withFile(aligned[:500]),
		"two":                           withFile(append(bytes.Clone(aligned), aligned...)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if in, err := find(bytes.NewReader(base), int64(len(base))); !errors.Is(err, ErrNoSegment) {
				t.Errorf("found %v, %v", in, err)
			}
			b := newBoot(t, base)
			b.install(whole, Options{}, Appended)
			if got := readFile(t, b.image); !bytes.Equal(got, join(t, base, whole)) {
				t.Errorf("image of %d bytes", len(got))
			}
			// The same, when what follows is torn.
			writeFile(t, b.image, join(t, base, whole)[:len(base)+300])
			b.install(whole, Options{}, Repaired)
			if got := readFile(t, b.image); !bytes.Equal(got, join(t, base, whole)) {
				t.Errorf("image of %d bytes", len(got))
			}
		})
	}
}

// A footer without the beginning that it speaks of proves nothing, when other bytes than NULs lie
// there.
func TestInstall_footer_alone(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	image := join(t, nil, s)
	copy(image[4:], bytes.Repeat([]byte("garbage!"), 20))
	b := newBoot(t, image)
	err := b.fails(s, Options{}, "not an initrd")
	if !strings.Contains(err.Error(), "at offset 4") {
		t.Error(err)
	}
}
