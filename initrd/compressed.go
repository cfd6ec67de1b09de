package initrd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// Kinds of a Part.
const (
	KindSegment = "segment" // ours
	KindCPIO    = "cpio"    // a plain archive
	KindGzip    = "gzip"
	KindBzip2   = "bzip2" // recognised, not looked into
	KindLZMA    = "lzma"  // recognised, not looked into
	KindXZ      = "xz"
	KindLZO     = "lzo" // recognised, not looked into
	KindLZ4     = "lz4"
	KindZstd    = "zstd"
	KindPadding = "padding" // NULs
	KindGarbage = "garbage" // nothing the kernel knows
)

// maxWindowBytes is what a decompressor may keep of its output: the kernel's limit for zstd
// (lib/decompress_unzstd.c), and more than the presets of xz need.
const maxWindowBytes = 128 << 20

// stream is an open compressed stream. After Read has returned io.EOF, size is the length of the
// stream in the image.
type stream struct {
	io.Reader
	size  func() int64
	close func()
}

// compressedKind tells the kind of a stream from its beginning, as the kernel does
// (lib/decompress.c); "" for none.
func compressedKind(head []byte) string {
	for kind, magic := range map[string]string{
		KindGzip: "\x1f\x8b", KindBzip2: "BZ", KindLZMA: "\x5d\x00", KindXZ: "\xfd7", KindLZO: "\x89L", KindLZ4: "\x02!", KindZstd: "(\xb5",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return kind
		}
	}
	return ""
}

// openStream opens the compressed stream at off of the image. Its decompressor's memory is
// bounded by maxWindowBytes, whatever its headers ask for.
func openStream(ctx context.Context, kind string, r io.ReaderAt, off, end int64) (*stream, error) {
	w := newWindow(r, off, end)
	consumed := func() int64 { return w.offset() - off }
	s := &stream{size: consumed, close: func() {}}
	var err error
	switch kind {
	case KindGzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(w); err == nil {
			z.Multistream(false) // the kernel takes one member at a time
			s.Reader = z
		}
	case KindXZ:
		err = s.openFramed(r, w, off, xzFrame, func(section io.Reader) (io.Reader, error) {
			return xz.ReaderConfig{SingleStream: true}.NewReader(section)
		})
	case KindZstd:
		err = s.openFramed(r, w, off, zstdFrame, func(section io.Reader) (io.Reader, error) {
			d, err := zstd.NewReader(section, zstd.WithDecoderConcurrency(1),
				zstd.WithDecoderMaxWindow(maxWindowBytes))
			if err == nil {
				s.close = d.Close
			}
			return d, err
		})
	case KindLZ4:
		l := &lz4Stream{w: w}
		s.Reader, s.size = l, func() int64 { return l.end - off }
	}
	if err != nil {
		return nil, err
	}
	s.Reader = stoppableStream{ctx, s.Reader} // little data can unpack to much
	return s, nil
}

// stoppableStream is a stream that ends with a context.
type stoppableStream struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppableStream) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, readError(context.Cause(s.ctx))
	}
	return s.r.Read(p)
}

// openFramed is for decompressors that read ahead: the length of the stream is found first, from
// its frame.
func (s *stream) openFramed(r io.ReaderAt, w *window, off int64, frame func(*window) error,
	open func(io.Reader) (io.Reader, error),
) error {
	if err := frame(w); err != nil {
		return err
	}
	size := w.offset() - off
	s.size = func() int64 { return size }
	var err error
	s.Reader, err = open(newWindow(r, off, off+size))
	return err
}

// lz4Stream reads the legacy format as the kernel does (lib/decompress_unlz4.c): blocks with
// their sizes, until the end of the image or a size of 0. Whatever other four bytes follow are
// taken for a size.
type lz4Stream struct {
	w        *window
	end      int64 // of the last block
	src, dst []byte
	rest     []byte // of dst, not read yet
	started  bool
}

const (
	lz4Magic      = 0x184c2102
	lz4BlockBytes = 8 << 20
	lz4MaxBytes   = lz4BlockBytes + lz4BlockBytes/255 + 16 // of a compressed block
)

func (l *lz4Stream) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if err := l.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lz4Stream) block() error {
	var b [4]byte
	switch _, err := io.ReadFull(l.w, b[:]); {
	case errors.Is(err, errRead):
		return err
	case err != nil && l.started:
		return io.EOF // up to three bytes are left: the kernel does not look at them
	case err != nil:
		return io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(b[:])
	switch {
	case n == lz4Magic:
		l.started, l.end = true, l.w.offset()
		return nil
	case !l.started:
		return errors.New("not the legacy format of lz4, the only one that the kernel reads")
	case n == 0:
		return io.EOF
	case n > lz4MaxBytes:
		return fmt.Errorf("block of %d bytes", n)
	}
	if uint32(cap(l.src)) < n {
		l.src = make([]byte, n)
	}
	if l.dst == nil {
		l.dst = make([]byte, lz4BlockBytes)
	}
	if err := readFull(l.w, l.src[:n]); err != nil {
		return err
	}
	out, err := lz4.UncompressBlock(l.src[:n], l.dst)
	if err != nil {
		return err
	}
	l.rest, l.end = l.dst[:out], l.w.offset()
	return nil
}

// zstdFrame skips one frame (RFC 8878, 3.1.1).
func zstdFrame(w *window) error {
	var b [5]byte
	if err := readFull(w, b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:]) != 0xfd2fb528 {
		return errors.New("not a zstd frame")
	}
	flags := b[4]
	single := flags>>5&1 == 1
	skip := [...]int64{0, 1, 2, 4}[flags&3]  // dictionary
	skip += [...]int64{0, 2, 4, 8}[flags>>6] // content size
	if !single || flags>>6 == 0 {
		skip++ // the window, or the short content size that takes its place
	}
	if err := w.discard(skip); err != nil {
		return err
	}
	for last := false; !last; {
		if err := readFull(w, b[:3]); err != nil {
			return err
		}
		head := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
		n := head >> 3
		switch head >> 1 & 3 {
		case 1: // one byte, repeated
			n = 1
		case 3:
			return errors.New("reserved block type")
		}
		if err := w.discard(n); err != nil {
			return err
		}
		last = head&1 == 1
	}
	if flags>>2&1 == 1 {
		return w.discard(4) // checksum
	}
	return nil
}

func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	return unexpected(err)
}

// unexpected makes the end of the image an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
