package initrd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// The newc format (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel;
// cpio(5)): a header of 110 bytes, all hexadecimal digits, the NUL-terminated name padded to a
// multiple of four, the content padded likewise.
const (
	headerBytes  = 110
	maxNameBytes = maxPathBytes + 1
	newcMagic    = "070701"
	crcMagic     = "070702"
)

// Linux file types in the mode field (inode(7)).
const (
	typeMask    = 0o170000
	typeRegular = 0o100000
	typeDir     = 0o040000
	typeSymlink = 0o120000
)

// header is a decoded newc header with its name.
type header struct {
	magic                                    string
	ino, mode, uid, gid, links, mtime, size  uint32
	devMajor, devMinor, rdevMajor, rdevMinor uint32
	nameSize, check                          uint32
	name                                     string // without the NUL
	offset                                   int64  // of the header in the stream
	data                                     int64  // offset of the content in the stream
}

func (h *header) fields() []*uint32 {
	return []*uint32{
		&h.ino, &h.mode, &h.uid, &h.gid, &h.links, &h.mtime, &h.size,
		&h.devMajor, &h.devMinor, &h.rdevMajor, &h.rdevMinor, &h.nameSize, &h.check,
	}
}

// end is the offset behind the content and its padding.
func (h *header) end() int64 { return align4(h.data + int64(h.size)) }

// decode fills the fixed part of the header.
func (h *header) decode(b *[headerBytes]byte) error {
	h.magic = string(b[:6])
	if h.magic != newcMagic && h.magic != crcMagic {
		return errNoMagic
	}
	for i, field := range h.fields() {
		v, ok := parseHex(b[6+8*i : 14+8*i])
		if !ok {
			return fmt.Errorf("header field %d is not hexadecimal", i+1)
		}
		*field = uint32(v)
	}
	if h.nameSize == 0 || h.nameSize > maxNameBytes {
		return fmt.Errorf("name of %d bytes", h.nameSize)
	}
	return nil
}

// appendEntry writes an entry. All of its fields were checked to fit into theirs.
func appendEntry(b []byte, inode int, e Entry) []byte {
	content := e.Data
	if e.Mode.Type() == fs.ModeSymlink {
		content = []byte(e.Target)
	}
	const none = 0 // times, devices, checksum
	b = fmt.Appendf(b, newcMagic+"%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode,
		linuxMode(e.Mode),
		e.UID, e.GID, links(e.Mode), none, len(content), none, none, none, none, len(e.Path), none)
	b = appendAligned(b, e.Path[1:]+"\x00") // the NUL takes the place of the leading slash
	return appendAligned(b, content)
}

// appendAligned appends data and NULs up to a multiple of four: archives are built from an offset
// that is one.
func appendAligned[T string | []byte](b []byte, data T) []byte {
	b = append(b, data...)
	return append(b, make([]byte, align4(int64(len(b)))-int64(len(b)))...)
}

// parseHex reads up to 16 hexadecimal digits of either case.
func parseHex(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}

func align4(n int64) int64 { return (n + 3) &^ 3 }

var errNoMagic = errors.New("no archive header")

// source is where an archive is read from: a piece of the image, or what a decompressor makes of
// one.
type source interface {
	io.Reader
	// discard skips n bytes; the error is io.ErrUnexpectedEOF when there are fewer.
	discard(n int64) error
}

// archive reads the entries of one newc archive. Its memory is bounded by the name of one entry.
type archive struct {
	src  source
	off  int64  // read from src so far; alignment counts from its beginning
	size int64  // of the current entry's content
	left int64  // of it and its padding, not read so far
	name []byte // reused
}

// next reads the header of the next entry. The error is io.EOF when that was the trailer, and
// io.ErrUnexpectedEOF when the source ended before it.
func (a *archive) next() (*header, error) {
	a.size = 0
	if err := a.skip(); err != nil {
		return nil, err
	}
	h := &header{offset: a.off}
	var fixed [headerBytes]byte
	if err := a.read(fixed[:]); err != nil {
		return nil, err
	}
	if err := h.decode(&fixed); err != nil {
		return nil, err
	}
	padded := align4(a.off+int64(h.nameSize)) - a.off
	if int64(cap(a.name)) < padded {
		a.name = make([]byte, maxNameBytes+4)
	}
	a.name = a.name[:h.nameSize]
	if err := a.read(a.name); err != nil {
		return nil, err
	}
	name, rest, ok := strings.Cut(string(a.name), "\x00")
	if !ok || rest != "" && name != trailerName {
		return nil, errors.New("name does not end where its length says")
	}
	h.name = name
	a.left = padded - int64(h.nameSize)
	if name == trailerName {
		// The padding can be missing: the image may end in the name. The kernel does not mind.
		if err := a.skip(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		return h, io.EOF
	}
	if err := a.skip(); err != nil {
		return nil, err
	}
	h.data = a.off
	a.size, a.left = int64(h.size), h.end()-a.off
	return h, nil
}

// content reads the beginning of the current entry's content.
func (a *archive) content(p []byte) error {
	if int64(len(p)) > a.left {
		return errors.New("content is too short")
	}
	err := a.read(p)
	a.left -= int64(len(p))
	return err
}

func (a *archive) skip() error {
	n := a.left
	a.left = 0
	if n == 0 {
		return nil
	}
	a.off += n
	return a.src.discard(n)
}

func (a *archive) read(p []byte) error {
	n, err := io.ReadFull(a.src, p)
	a.off += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// window reads a piece of a file through a buffer and skips by seeking.
type window struct {
	r   io.ReaderAt
	buf *bufio.Reader
	pos int64 // of the next byte that buf will be given
	end int64
}

const bufferBytes = 64 << 10

func newWindow(r io.ReaderAt, off, end int64) *window {
	w := &window{r: r, end: end}
	w.seek(off)
	return w
}

func (w *window) seek(off int64) {
	w.pos = off
	section := io.NewSectionReader(w.r, off, w.end-off)
	if w.buf == nil {
		w.buf = bufio.NewReaderSize(section, bufferBytes)
		return
	}
	w.buf.Reset(section)
}

// offset is that of the next byte to be read.
func (w *window) offset() int64 { return w.pos }

func (w *window) Read(p []byte) (int, error) {
	n, err := w.buf.Read(p)
	w.pos += int64(n)
	return n, orRead(err)
}

func (w *window) ReadByte() (byte, error) {
	c, err := w.buf.ReadByte()
	if err == nil {
		w.pos++
	}
	return c, orRead(err)
}

// orRead marks an error of the image's reader as one.
func orRead(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return readError(err)
}

func (w *window) discard(n int64) error {
	if n > w.end-w.pos {
		w.seek(w.end)
		return io.ErrUnexpectedEOF
	}
	if n <= int64(w.buf.Buffered()) {
		_, err := w.buf.Discard(int(n))
		w.pos += n
		return err
	}
	w.seek(w.pos + n)
	return nil
}
