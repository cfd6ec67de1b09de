package initrd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFind_nothing(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	image := join(t, baseArchive(), s)
	for name, b := range map[string][]byte{
		"empty":              {},
		"NULs":               make([]byte, 300_000),
		"base":               baseArchive(),
		"only a trailer":     trailer(),
		"garbage":            noise(1, 1000),
		"garbage behind":     append(bytes.Clone(image), 'x'),
		"moved by 4":         append(make([]byte, 4), image...),
		"moved by 1":         append(make([]byte, 1), image...),
		"without padding":    image[len(baseArchive())+4:],
		"padding not NUL":    replaceAt(image, len(baseArchive())+1, 1),
		"marker of another":  replaceAt(image, len(baseArchive())+4+beginHead, 'x'),
		"base out of range":  replaceAt(image, len(baseArchive())+4+beginHead+baseField, 'f'),
		"length too long":    replaceAt(image, len(image)-trailerBytes-lastBytes+(lengthField-digestsBytes), '7'),
		"length not a digit": replaceAt(image, len(image)-trailerBytes-lastBytes+(lengthField-digestsBytes), 'x'),
		"other versions":     replaceAt(image, len(image)-trailerBytes-lastBytes+32, '2'),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := find(bytes.NewReader(b), int64(len(b)))
			if in != nil || !errors.Is(err, ErrNoSegment) {
				t.Errorf("found %v, %v", in, err)
			}
			if err := verify(bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, ErrNoSegment) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func replaceAt(b []byte, at int, c byte) []byte {
	b = bytes.Clone(b)
	b[at] = c
	return b
}

// Whatever byte of a segment changes, it is no longer said to be whole.
func TestVerify_every_byte(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("value"), Digest{1})
	base := baseArchive()
	image := join(t, base, s)
	if err := verify(bytes.NewReader(image), int64(len(image)), nil); err != nil {
		t.Fatal(err)
	}
	for at := len(base); at < len(image); at++ {
		for _, bit := range []byte{0x01, 0x80} {
			image[at] ^= bit
			err := verify(bytes.NewReader(image), int64(len(image)), nil)
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoSegment) && !errors.Is(err, ErrVersion) {
				t.Fatalf("byte %d of the segment: %v", at-len(base), err)
			}
			image[at] ^= bit
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("value"), Digest{1})
	image := join(t, baseArchive(), s)
	verify := func(image []byte, want *Digest) error {
		return verify(bytes.NewReader(image), int64(len(image)), want)
	}
	if err := errors.Join(verify(image, nil), verify(image, &Digest{1})); err != nil {
		t.Error(err)
	}
	if err := verify(image, &Digest{2}); !errors.Is(err, ErrStale) {
		t.Errorf("other inputs: %v", err)
	}
	if err := verify(newerVersion(t, baseArchive(), s), nil); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown version: %v", err)
	}
	if err := verify(append(image, make([]byte, 1000)...), &Digest{1}); err != nil {
		t.Errorf("NULs behind: %v", err)
	}
}

func TestExtract(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, sample(), Digest{5})
	image := join(t, baseArchive(), s)
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	salvaged, err := extract(bytes.NewReader(image), in, nixos())
	if err != nil {
		t.Fatal(err)
	}
	if salvaged.Inputs() != s.Inputs() || salvaged.Empty() {
		t.Errorf("inputs or emptiness differ")
	}
	diff(t, infoLines(s.Entries()), infoLines(salvaged.Entries()))
	for _, base := range [][]byte{nil, {1, 2, 3}, baseArchive()} {
		if got, want := join(t, base, salvaged), join(t, base, s); !bytes.Equal(got, want) {
			t.Errorf("behind %d bytes: %d bytes differ from %d", len(base), len(got), len(want))
		}
	}

	if _, err := extract(bytes.NewReader(replaceAt(image, len(image)-400, 'x')), in, nixos()); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	newer := newerVersion(t, baseArchive(), s)
	if in, err = find(bytes.NewReader(newer), int64(len(newer))); err != nil {
		t.Fatal(err)
	}
	if _, err := extract(bytes.NewReader(newer), in, nixos()); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown version: %v", err)
	}
	if _, err := entries(bytes.NewReader(newer), in); !errors.Is(err, ErrVersion) {
		t.Errorf("entries of unknown version: %v", err)
	}
}

// A segment whose sums are right, and whose content is not what this package would have written,
// was forged.
func TestExtract_forged(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func([]byte){
		"sum list":  func(b []byte) { b[bytes.Index(b, []byte("  .initrd-secrets/"))-1] ^= 1 },
		"nothing":   func([]byte) {},
		"inode":     func(b []byte) { b[bytes.Index(b, []byte("07070100000004"))+13] = '9' },
		"hex case":  func(b []byte) { copy(b[bytes.Index(b, []byte("000041ED"))+6:], "Ed") },
		"name gap":  func(b []byte) { b[bytes.Index(b, []byte(".initrd-secrets/etc\x00"))+20] = 'x' },
		"data gap":  func(b []byte) { b[bytes.Index(b, []byte("value\x00"))+5] = 'x' },
		"uid":       func(b []byte) { copy(b[bytes.Index(b, []byte("00008100"+"00000000"))+8:], "FFFFFFFF") },
		"crc magic": func(b []byte) { b[bytes.LastIndex(b, []byte("07070100000003"))+5] = '2' },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mustSegment(t, secrets("value"), Digest{5})
			b, err := s.Bytes(0)
			if err != nil {
				t.Fatal(err)
			}
			was := bytes.Clone(b)
			forge(b)
			if bytes.Equal(b, was) && name != "nothing" {
				t.Fatal("nothing forged")
			}
			resum(t, b)
			image := append(make([]byte, 4), b...)
			in, err := find(bytes.NewReader(image), int64(len(image)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = extract(bytes.NewReader(image), in, nixos())
			if want := name != "nothing"; errors.Is(err, ErrDamaged) != want {
				t.Errorf("error %v", err)
			}
		})
	}
}

// resum gives a changed segment the sum that it should have.
func resum(t *testing.T, b []byte) {
	t.Helper()
	at := len(b) - trailerBytes - endBytes
	foot, err := decodeFooter(b[at:][:endBytes])
	if err != nil {
		t.Fatal(err)
	}
	foot.sum = sumOf(b)
	copy(b[at:], foot.encode())
}

func infoLines(infos []EntryInfo) []string {
	var out []string
	for _, i := range infos {
		b, err := i.MarshalJSON()
		if err != nil {
			return []string{err.Error()}
		}
		out = append(out, string(b))
	}
	return out
}

// A reader that fails is not taken for an image that is damaged.
func TestErrors_of_reading(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken disk")
	image := join(t, compress(t, KindZstd, baseArchive()), mustSegment(t, secrets("a"), Digest{}))
	for at := range len(image) {
		if at%97 != 0 && (at < len(image)-2000 || at%11 != 0) {
			continue
		}
		r := &brokenReader{bytes.NewReader(image), int64(at), broken}
		size := int64(len(image))
		if _, err := inspect(r, size); !errors.Is(err, broken) {
			t.Fatalf("inspect, broken at %d: %v", at, err)
		}
		if err := verify(r, size, nil); err != nil && !errors.Is(err, broken) {
			t.Fatalf("verify, broken at %d: %v", at, err)
		}
	}
	short := bytes.NewReader(image[:100])
	if _, err := find(short, 200); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "read image: ") {
		t.Errorf("image shorter than said: %v", err)
	}
}

type brokenReader struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (b *brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.at || off > b.at {
		return b.r.ReadAt(p, off)
	}
	n, _ := b.r.ReadAt(p[:b.at-off], off)
	return n, b.err
}
