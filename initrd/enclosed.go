package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An enclosed image is four NULs and one zstd frame (RFC 8878) with padding and segment in it: a
// whole initrd of its own, which the kernel finds at any offset, where a plain archive must begin
// at a multiple of four. The NULs end an lz4 archive before it, as those of Padding do.
//
// zstd and not gzip, because limine from 12.0.0 unpacks gzip files by itself before it joins
// them. The blocks are stored, not compressed: the same bytes from every version of every
// library, and nothing to be learned from their size. All but the last have the same length, so
// every byte of the content has its place in the file.

const (
	zstdMagic = 0xFD2FB528
	// content size in 4 bytes, no checksum (the segment has one), no dictionary
	zstdDescriptor = 2 << 6
	zstdWindow     = 7 << 3 // 1 << (10+7) bytes, the longest block
	zstdBlock      = 128 << 10
	zstdLast       = 1

	blockHead     = 3
	enclosedLead  = 4
	enclosedHead  = enclosedLead + 4 + 1 + 1 + 4
	enclosedLimit = 1 << 30 // it is made in memory, and loaders read the whole of it into theirs
)

// enclosedSize is the size of an enclosed image with n bytes inside.
func enclosedSize(n int64) int64 { return enclosedHead + n + (n+zstdBlock-1)/zstdBlock*blockHead }

func blockHeader(at, size int64) []byte {
	n := min(size-at, zstdBlock)
	header := uint32(n) << 3
	if at+n == size {
		header |= zstdLast
	}
	return []byte{byte(header), byte(header >> 8), byte(header >> 16)}
}

func enclosedHeader(size int64) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, enclosedLead, enclosedHead), zstdMagic)
	b = append(b, zstdDescriptor, zstdWindow)
	return binary.LittleEndian.AppendUint32(b, uint32(size)) //nolint:gosec // at most enclosedLimit
}

// enclose makes the file that has content inside.
func enclose(content []byte) ([]byte, error) {
	size := int64(len(content))
	if size > enclosedLimit {
		return nil, fmt.Errorf("segment of %d bytes cannot be enclosed: the limit is %d", size,
			enclosedLimit)
	}
	out := append(make([]byte, 0, enclosedSize(size)), enclosedHeader(size)...)
	for at := int64(0); at < size; at += zstdBlock {
		out = append(out, blockHeader(at, size)...)
		out = append(out, content[at:min(at+zstdBlock, size)]...)
	}
	return out, nil
}

// enclosed reads what is inside.
type enclosed struct {
	r    io.ReaderAt
	size int64
}

// openEnclosed returns what is inside of an enclosed image, nil when the image is something else.
// One that is torn, or has a damaged block, seems to end there.
func openEnclosed(r io.ReaderAt, size int64) (*enclosed, error) {
	head := make([]byte, enclosedHead)
	if size < enclosedHead+blockHead {
		return nil, nil
	}
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	e := &enclosed{r, int64(binary.LittleEndian.Uint32(head[enclosedHead-4:]))}
	if !bytes.Equal(head, enclosedHeader(e.size)) || e.size > enclosedLimit ||
		enclosedSize(e.size) < size {
		return nil, nil
	}
	content := e.size
	e.size = 0
	got := make([]byte, blockHead)
	for from := int64(enclosedHead); e.size < content &&
		from+blockHead < size; from = enclosedSize(e.size) {
		if err := readAt(r, got, from); err != nil {
			return nil, err
		}
		if !bytes.Equal(got, blockHeader(e.size, content)) {
			break
		}
		rest := size - from - blockHead
		e.size = min(e.size+min(rest, zstdBlock), content)
		if rest < zstdBlock {
			break
		}
	}
	return e.ifOurs()
}

// ifOurs is e when a segment of ours begins inside, where it has to.
func (e *enclosed) ifOurs() (*enclosed, error) {
	at := Padding(0)
	if e.size <= at || !onlyNULs(e, 0, at) {
		return nil, nil
	}
	a := archive{src: newWindow(e, at, e.size)}
	_, err := a.marker()
	switch w := (&walker{r: e, size: e.size}); {
	case err == nil, errors.Is(err, io.ErrUnexpectedEOF) && w.beginsLikeOurs(at):
		return e, nil
	case errors.Is(err, errRead):
		return nil, err
	}
	return nil, nil
}

func (e *enclosed) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < e.size {
		n := min(int64(len(p)-done), zstdBlock-off%zstdBlock, e.size-off)
		m, err := e.r.ReadAt(p[done:done+int(n)], enclosedSize(off-off%zstdBlock)+blockHead+off%zstdBlock)
		done += m
		off += int64(m)
		if int64(m) < n {
			return done, err
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}
