package initrd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// formatVersion is the version this package writes. doc.go says which parts of the format stay
// the same in all versions.
const formatVersion = 1

// Names of the entries that frame a segment.
const (
	beginName = ".sops-initrd-begin"
	sumsName  = ".sops-initrd-sums"
	endName   = ".sops-initrd-end"
)

// Inode numbers of the frame; the other entries follow. They are fixed so that the headers of the
// frame are.
const (
	beginInode = 1 + iota
	sumsInode
	endInode
	firstInode
)

// The data of the marker: four lines.
const (
	beginMagic   = "sops-initrd begin\n"
	beginFormat  = beginMagic + "version %08x\nbase %016x\npadding %08x\n"
	beginBytes   = len(beginMagic) + 8 + 8 + 1 + 5 + 16 + 1 + 8 + 8 + 1
	versionField = len(beginMagic) + 8
	baseField    = versionField + 8 + 1 + 5
	paddingField = baseField + 16 + 1 + 8
)

// The data of the footer: two lines of digests and, in every version, the last line.
const (
	digestsFormat = "inputs %x\nsha256 %x\n"
	digestsBytes  = 2 * (7 + 2*sha256.Size + 1)
	lastFormat    = "sops-initrd end: version %08x, length %016x.\n"
	lastBytes     = 25 + 8 + 9 + 16 + 2
	endBytes      = digestsBytes + lastBytes
	inputsField   = 7
	sumField      = digestsBytes - 1 - 2*sha256.Size
	lengthField   = digestsBytes + 25 + 8 + 9
)

// Sizes of the frame in the archive.
const (
	// header and name, so the offset of the marker's data
	beginHead    = (headerBytes + len(beginName) + 1 + 3) &^ 3
	endHead      = (headerBytes + len(endName) + 1 + 3) &^ 3
	trailerBytes = (headerBytes + len(trailerName) + 1 + 3) &^ 3
	tailBytes    = endHead + endBytes + trailerBytes // the footer and all that follows
	minSegment   = beginHead + beginBytes + tailBytes
)

// trailer is the end of every segment.
func trailer() []byte {
	const zero = "00000000"
	b := make([]byte, trailerBytes)
	copy(b,
		newcMagic+zero+zero+zero+zero+"00000001"+zero+zero+zero+zero+zero+zero+"0000000B"+zero+trailerName)
	return b
}

// Digest is the caller's digest of everything that a segment was made from. It is stored in the
// segment and compared by Verify. It may have been made from secrets: it prints as nothing.
type Digest [sha256.Size]byte

// Sum is the SHA-256 of a segment, the same wherever in an image the segment lies. It is made
// from secrets: it prints as nothing.
type Sum [sha256.Size]byte

// Format prints a placeholder, whatever the verb: a short secret could be guessed from a digest.
func (Digest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[digest]") }

// Format prints a placeholder, whatever the verb: a short secret could be guessed from a digest.
func (Sum) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[sum]") }

// Padding is the number of NULs between a base of the given length and a segment: up to the next
// multiple of 4, where the kernel looks for an archive, and four more, since the kernel's lz4
// decoder takes the four bytes behind its stream for itself.
func Padding(base int64) int64 { return align4(base) - base + 4 }

// marker is the decoded data of the first entry.
type marker struct {
	version       uint32
	base, padding int64
}

func (m marker) encode() []byte {
	return fmt.Appendf(nil, beginFormat, m.version, m.base,
		m.padding)
}

var errNotOurs = errors.New("not a segment of ours")

func decodeMarker(data []byte) (marker, error) {
	if len(data) < beginBytes {
		return marker{}, errNotOurs
	}
	data = data[:beginBytes]
	version, ok1 := parseHex(data[versionField:][:8])
	base, ok2 := parseHex(data[baseField:][:16])
	padding, ok3 := parseHex(data[paddingField:][:8])
	m := marker{uint32(version), int64(base), int64(padding)}
	if !ok1 || !ok2 || !ok3 || m.base < 0 || !bytes.Equal(m.encode(), data) {
		return marker{}, errNotOurs
	}
	return m, nil
}

// footer is the decoded data of the last entry.
type footer struct {
	version uint32
	length  int64
	inputs  Digest
	sum     Sum
}

func (f footer) encode() []byte {
	b := fmt.Appendf(nil, digestsFormat, f.inputs[:], f.sum[:])
	return fmt.Appendf(b, lastFormat, f.version, f.length)
}

// decodeLast reads the line that ends the footer of every version.
func decodeLast(line []byte) (version uint32, length int64, err error) {
	if len(line) != lastBytes {
		return 0, 0, errNotOurs
	}
	v, ok1 := parseHex(line[25:][:8])
	l, ok2 := parseHex(line[lengthField-digestsBytes:][:16])
	version, length = uint32(v), int64(l)
	if !ok1 || !ok2 || length < 0 || !bytes.Equal(fmt.Appendf(nil, lastFormat, version, length),
		line) {
		return 0, 0, errNotOurs
	}
	return version, length, nil
}

// decodeFooter reads the whole footer of this version.
func decodeFooter(data []byte) (f footer, err error) {
	if len(data) != endBytes {
		return footer{}, errNotOurs
	}
	if f.version, f.length, err = decodeLast(data[digestsBytes:]); err != nil {
		return footer{}, err
	}
	_, err1 := hex.Decode(f.inputs[:], data[inputsField:][:2*sha256.Size])
	_, err2 := hex.Decode(f.sum[:], data[sumField:][:2*sha256.Size])
	if err1 != nil || err2 != nil || !bytes.Equal(f.encode(), data) {
		return footer{}, errNotOurs
	}
	return f, nil
}

// zeroedFields are the parts of a segment of the given length that its SHA-256 reads as the digit
// 0: where the segment lies, so that the sum stays the same in every image, and the sum itself.
func zeroedFields(length int64) [3]struct{ off, n int64 } {
	data := length - int64(endBytes+trailerBytes) // of the footer
	return [...]struct{ off, n int64 }{
		{int64(beginHead + baseField), 16},
		{int64(beginHead + paddingField), 8},
		{data + int64(sumField), 2 * sha256.Size},
	}
}

// summer is a writer that makes the SHA-256 of a segment of which it is given all bytes in order.
// The bytes written to it are not changed.
type summer struct {
	hash   hash.Hash
	fields [3]struct{ off, n int64 }
	off    int64
}

func newSummer(length int64) *summer {
	return &summer{hash: sha256.New(), fields: zeroedFields(length)}
}

func (s *summer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := int64(len(rest))
		zero := false
		for _, f := range s.fields {
			switch {
			case s.off < f.off:
				n = min(n, f.off-s.off)
			case s.off < f.off+f.n:
				n, zero = min(n, f.off+f.n-s.off), true
			}
		}
		if zero {
			s.hash.Write(bytes.Repeat([]byte("0"), int(n)))
		} else {
			s.hash.Write(rest[:n])
		}
		rest = rest[n:]
		s.off += n
	}
	return len(p), nil
}

// sumOf is the SHA-256 of a segment.
func sumOf(segment []byte) Sum {
	s := newSummer(int64(len(segment)))
	_, _ = s.Write(segment) // never fails
	return s.sum()
}

func (s *summer) sum() (sum Sum) {
	s.hash.Sum(sum[:0])
	return sum
}
