package initrd

import (
	"errors"
	"fmt"
	"io"
)

// Parts of the .xz format (The .xz File Format 1.2.1).
const (
	xzHeaderBytes  = 12
	xzFooterBytes  = 12
	xzFilterLZMA2  = 0x21
	xzMaxDictCode  = 40
	xzMaxVarint    = 9
	lzma2EndOfData = 0
)

// xzFrame skips one stream, looking at nothing but its structure, and refuses what would need
// more memory than maxWindowBytes or a filter that the decompressor does not have.
func xzFrame(w *window) error {
	var head [xzHeaderBytes]byte
	if err := readFull(w, head[:]); err != nil {
		return err
	}
	if string(head[:6]) != "\xfd7zXZ\x00" {
		return errors.New("not an xz stream")
	}
	check := int64(0)
	if id := head[7] & 0xf; id > 0 {
		check = 4 << ((id - 1) / 3)
	}
	for {
		start := w.offset()
		size, err := w.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if size == 0 {
			return xzIndex(w, start)
		}
		if err := xzBlockHeader(w, start+4*int64(size)+4); err != nil {
			return err
		}
		if err := lzma2Chunks(w); err != nil {
			return err
		}
		if err := w.discard(align4(w.offset()-start) - (w.offset() - start) + check); err != nil {
			return err
		}
	}
}

// xzBlockHeader reads a block header behind its size; it ends at end, with a CRC of four bytes.
func xzBlockHeader(w *window, end int64) error {
	flags, err := w.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	for _, present := range []byte{0x40, 0x80} { // compressed size, uncompressed size
		if flags&present != 0 {
			if _, err := xzVarint(w); err != nil {
				return err
			}
		}
	}
	if flags&3 != 0 {
		return errors.New("a filter besides LZMA2, which cannot be looked into")
	}
	id, err1 := xzVarint(w)
	n, err2 := xzVarint(w)
	code, err3 := w.ReadByte()
	if err := errors.Join(err1, err2, unexpected(err3)); err != nil {
		return err
	}
	if id != xzFilterLZMA2 || n != 1 || code > xzMaxDictCode {
		return fmt.Errorf("filter %#x, which cannot be looked into", id)
	}
	if dict := (2 | uint64(code&1)) << (code/2 + 11); dict > maxWindowBytes {
		return fmt.Errorf("dictionary of %d bytes, but the limit is %d", dict, maxWindowBytes)
	}
	if w.offset() > end-4 {
		return errors.New("block header is too short")
	}
	return w.discard(end - w.offset())
}

// lzma2Chunks skips chunks up to the end marker.
func lzma2Chunks(w *window) error {
	for {
		control, err := w.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		var b [4]byte
		switch {
		case control == lzma2EndOfData:
			return nil
		case control <= 2: // not compressed
			if err := readFull(w, b[:2]); err != nil {
				return err
			}
			err = w.discard(int64(b[0])<<8 + int64(b[1]) + 1)
		case control < 0x80:
			return errors.New("reserved chunk type")
		default:
			if err := readFull(w, b[:4]); err != nil {
				return err
			}
			n := int64(b[2])<<8 + int64(b[3]) + 1
			if control >= 0xc0 {
				n++ // properties
			}
			err = w.discard(n)
		}
		if err != nil {
			return err
		}
	}
}

// xzIndex skips the index that began at start with the byte that was read, and the footer.
func xzIndex(w *window, start int64) error {
	records, err := xzVarint(w)
	if err != nil {
		return err
	}
	for ; records > 0; records-- {
		_, err1 := xzVarint(w)
		_, err2 := xzVarint(w)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	const crc = 4
	return w.discard(align4(w.offset()-start) - (w.offset() - start) + crc + xzFooterBytes)
}

func xzVarint(r io.ByteReader) (uint64, error) {
	var v uint64
	for i := range xzMaxVarint {
		c, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return v, nil
		}
	}
	return 0, errors.New("number of more than 9 bytes")
}
