// Package frame encloses a segment in a zstd frame, for boot loaders that join several initrds without padding.
//
// The kernel accepts a plain cpio archive only on a 4-byte boundary, but a compressed one anywhere
// (Documentation/driver-api/early-userspace/buffer-format.rst). limine before 12.4.0 puts a second initrd directly behind the first, whatever
// its length, so a plain segment is lost three times out of four there. zstd and not gzip, because limine from 12.0.0 unpacks gzip
// files by itself before it joins them.
//
// The blocks are stored, not compressed: the same bytes from every version of every library, and nothing to be learned
// about the content from its compressed size.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Parts of a frame (RFC 8878, 3.1.1).
const (
	magic = 0xFD2FB528
	// descriptor: content size in 4 bytes, no single segment, no checksum (the segment has its own), no dictionary.
	descriptor = 2 << 6
	// window: 1 << (10 + 7) bytes, the largest size of a block.
	window       = 7 << 3
	maxBlock     = 128 << 10
	headerBytes  = 4 + 1 + 1 + 4
	lastBlock    = 1
	blockHeader  = 3
	contentBytes = 4 // where the content size begins, counted from the end of the header
)

// lead is put before the frame: the kernel's lz4 decoder takes the 4 bytes behind its archive for a block size, and 0 ends it.
const lead = 4

// maxContent bounds a frame, on the way in and on the way out.
const maxContent = 1 << 30

// Wrap encloses data. The result is a whole initrd of its own.
func Wrap(data []byte) ([]byte, error) {
	if len(data) == 0 || len(data) > maxContent {
		return nil, fmt.Errorf("%d bytes cannot be enclosed in a zstd frame (limit %d)", len(data), maxContent)
	}
	out := make([]byte, lead, lead+headerBytes+len(data)+(len(data)/maxBlock+1)*blockHeader)
	out = binary.LittleEndian.AppendUint32(out, magic)
	out = append(out, descriptor, window)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data))) //nolint:gosec // bounded above
	for len(data) > 0 {
		n := min(len(data), maxBlock)
		header := uint32(n) << 3
		if n == len(data) {
			header |= lastBlock
		}
		out = append(out, byte(header), byte(header>>8), byte(header>>16))
		out = append(out, data[:n]...)
		data = data[n:]
	}
	return out, nil
}

// ErrOther says that something is not a frame that Wrap made.
var ErrOther = errors.New("not an enclosed segment")

// Unwrap gives what is enclosed in a file that Wrap made, all of it and nothing else. The error is ErrOther when the file is
// anything else, without having read more than its beginning; or that of reading.
func Unwrap(r io.ReaderAt, size int64) ([]byte, error) {
	if size < lead+headerBytes+blockHeader+1 || size > 2*maxContent {
		return nil, ErrOther
	}
	var head [lead + headerBytes]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	content := int64(binary.LittleEndian.Uint32(head[len(head)-contentBytes:]))
	if binary.LittleEndian.Uint32(head[:]) != 0 || binary.LittleEndian.Uint32(head[lead:]) != magic ||
		head[lead+4] != descriptor || head[lead+5] != window || content == 0 || size != enclosedSize(content) {
		return nil, ErrOther
	}
	data := make([]byte, size-int64(len(head)))
	if _, err := io.ReadFull(io.NewSectionReader(r, int64(len(head)), int64(len(data))), data); err != nil {
		return nil, err
	}
	return blocks(data, int(content))
}

// enclosedSize is the size of the file that Wrap makes of n bytes.
func enclosedSize(n int64) int64 {
	return lead + headerBytes + n + (n+maxBlock-1)/maxBlock*blockHeader
}

// blocks joins stored blocks that have n bytes in all.
func blocks(data []byte, n int) ([]byte, error) {
	out := make([]byte, 0, n)
	for {
		if len(data) < blockHeader {
			return nil, ErrOther
		}
		header := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16
		size := int(header >> 3)
		data = data[blockHeader:]
		if header>>1&3 != 0 || size > maxBlock || size > len(data) || size != min(n-len(out), maxBlock) {
			return nil, ErrOther
		}
		out, data = append(out, data[:size]...), data[size:]
		if header&lastBlock != 0 {
			break
		}
	}
	if len(data) > 0 || len(out) != n {
		return nil, ErrOther
	}
	return out, nil
}
