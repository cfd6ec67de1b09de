package initrd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a walk, for images that were made to waste time and memory.
const (
	maxParts         = 10_000   // each is described in memory; an image has a handful
	maxUnpackedBytes = 16 << 30 // stage 1 has it all in memory; some seconds of work
)

// walker goes through a whole image as the kernel's unpack_to_rootfs (init/initramfs.c) would.
type walker struct {
	ctx      context.Context // nil: to the end
	r        io.ReaderAt
	size     int64
	parts    []Part
	unpacked int64
	limit    int64         // of unpacked; 0: maxUnpackedBytes
	visit    func(*header) // shown every entry of every archive; may be nil
}

// walk fills parts. They cover the image; only the last can have a problem that ends the walk.
// The error is one of reading.
func (w *walker) walk() error { return w.walkFrom(0) }

// walkFrom starts at an offset that is known to be the beginning of a part.
func (w *walker) walkFrom(off int64) error {
	if w.limit == 0 {
		w.limit = maxUnpackedBytes
	}
	for off < w.size {
		p, err := w.part(off)
		if err != nil {
			return err
		}
		if len(w.parts) == maxParts-1 && off+p.Size < w.size {
			p, _ = w.problem(p, "more than %d parts", maxParts)
		}
		w.parts = append(w.parts, p)
		off += p.Size
	}
	return nil
}

// part reads one part.
func (w *walker) part(off int64) (Part, error) {
	head := make([]byte, min(16, w.size-off))
	if err := readAt(w.r, head, off); err != nil {
		return Part{}, err
	}
	switch kind := compressedKind(head); {
	case head[0] == 0:
		return w.padding(off)
	case head[0] == '0' && off%4 == 0:
		return w.plain(off)
	case head[0] == '0' && bytes.HasPrefix([]byte(newcMagic), head[:min(5, len(head))]):
		return w.problem(Part{Kind: KindGarbage, Offset: off},
			"an archive that does not begin at a multiple of 4")
	case kind != "":
		return w.compressed(kind, off)
	}
	return w.garbage(off)
}

// problem ends the walk at p.
func (w *walker) problem(p Part, format string, args ...any) (Part, error) {
	p.Problem, p.stop = fmt.Sprintf(format, args...), true
	p.Size = w.size - p.Offset
	return p, nil
}

// padding reads NULs.
func (w *walker) padding(off int64) (Part, error) {
	buf := make([]byte, min(w.size-off, bufferBytes))
	nuls := make([]byte, len(buf))
	for at := off; at < w.size; at += int64(len(buf)) {
		buf = buf[:min(w.size-at, int64(len(buf)))]
		if err := readAt(w.r, buf, at); err != nil {
			return Part{}, err
		}
		if bytes.Equal(buf, nuls[:len(buf)]) {
			continue // compared at once: holes can be long
		}
		if rest := bytes.TrimLeft(buf, "\x00"); len(rest) > 0 {
			return Part{Kind: KindPadding, Offset: off, Size: at + int64(len(buf)-len(rest)) - off}, nil
		}
	}
	return Part{Kind: KindPadding, Offset: off, Size: w.size - off}, nil
}

// before is the number of NULs before the part that is being read.
func (w *walker) before() int64 {
	if n := len(w.parts); n > 0 && w.parts[n-1].Kind == KindPadding {
		return w.parts[n-1].Size
	}
	return 0
}

// plain reads one archive that is not compressed; it may be a segment of ours.
func (w *walker) plain(off int64) (Part, error) {
	p := Part{Kind: KindCPIO, Offset: off}
	a := &archive{src: newWindow(w.r, off, w.size)}
	last := ""
	for {
		h, err := a.next()
		if err == nil && p.Entries == 0 && h.name == beginName {
			err = w.marked(&p, h, a)
		}
		switch {
		case errors.Is(err, errRead):
			return Part{}, err
		case errors.Is(err, io.EOF):
			p.Archives, p.Size = 1, min(a.off, w.size-off)
			if p.Segment == nil && last != endName {
				return p, nil
			}
			return w.ours(p)
		case err != nil:
			return w.torn(p, a.off, err)
		}
		p.add(h)
		last = h.name
		if w.visit != nil {
			w.visit(h)
		}
	}
}

// add counts an entry.
func (p *Part) add(h *header) {
	p.Entries++
	p.Microcode = p.Microcode || strings.HasPrefix(strings.TrimPrefix(h.name, "./"),
		"kernel/x86/microcode/")
}

// marked notes that the archive begins with a marker.
func (w *walker) marked(p *Part, h *header, a *archive) error {
	if h.mode&typeMask != typeRegular || h.size < uint32(beginBytes) {
		return nil
	}
	data := make([]byte, beginBytes)
	if err := a.content(data); err != nil {
		return err
	}
	m, err := decodeMarker(data)
	if errors.Is(err, errNotOurs) {
		return nil
	}
	p.Kind = KindSegment
	p.Segment = &Installed{Offset: p.Offset, Version: m.version, Padding: min(m.padding, w.before())}
	p.Segment.Base = p.Offset - p.Segment.Padding
	return nil
}

// ours completes a segment that ended with its trailer.
func (w *walker) ours(p Part) (Part, error) {
	if p.Segment == nil {
		return w.headless(p)
	}
	in := p.Segment
	in.Length = p.Size
	if in.Version != formatVersion {
		return p, nil
	}
	if err := in.examine(w.r); err != nil {
		return Part{}, err
	}
	if !in.Whole {
		p.Problem = "segment is damaged"
		return p, nil
	}
	var err error
	p.Files, err = entries(w.r, in)
	return p, err
}

// headless is an archive with our footer and without our marker: the first blocks of a segment
// were never written.
func (w *walker) headless(p Part) (Part, error) {
	gap := min(4, w.before())
	p.Kind, p.Problem = KindSegment, "segment has lost its beginning"
	p.Segment = &Installed{
		Offset: p.Offset, Length: p.Size, Padding: gap, Base: p.Offset - gap,
		torn: true,
	}
	if in := w.footerAt(p.Offset + p.Size); in != nil {
		w.adopt(&p, in)
	}
	return p, nil
}

// adopt places a segment without beginning where its footer says it began, when nothing but NULs
// lies from there.
func (w *walker) adopt(p *Part, in *Installed) bool {
	nuls := p.Offset - w.before()
	if in.Offset-4 < nuls || in.Offset >= p.Offset {
		return false
	}
	p.Segment.Base, p.Segment.Padding = in.Offset-4, p.Offset-(in.Offset-4)
	return true
}

// footerAt reads the footer that ends at the given offset; nil when there is none.
func (w *walker) footerAt(stop int64) *Installed {
	line := make([]byte, lastBytes)
	at := stop - int64(trailerBytes+lastBytes)
	if at < 0 || readAt(w.r, line, at) != nil {
		return nil
	}
	version, length, err := decodeLast(line)
	if err != nil || length > stop {
		return nil
	}
	return &Installed{Offset: stop - length, Length: length, Version: version}
}

// torn is an archive that ends in the middle, or goes on with something that is no entry.
func (w *walker) torn(p Part, at int64, err error) (Part, error) {
	if p.Segment == nil && p.Entries <= 1 && w.beginsLikeOurs(p.Offset) {
		gap := min(4, w.before())
		p.Kind = KindSegment
		p.Segment = &Installed{Offset: p.Offset, Padding: gap, Base: p.Offset - gap}
	}
	what := "archive"
	if p.Segment != nil {
		p.Segment.Length, p.Segment.torn = w.size-p.Offset, true
		what = "segment"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return w.problem(p, "%s is torn: the image ends inside it", what)
	}
	return w.problem(p, "%s is torn: %v at offset %d", what, err, p.Offset+at)
}

// beginsLikeOurs reports whether the image ends inside the first entry of a segment of ours, or
// that entry is torn.
func (w *walker) beginsLikeOurs(off int64) bool {
	want, err := (&Segment{}).encode(0, nil)
	if err != nil {
		return false
	}
	want = want[:beginHead+baseField]
	got := make([]byte, min(int64(len(want)), w.size-off))
	if readAt(w.r, got, off) != nil {
		return false
	}
	if len(got) >= haltField+haltBytes {
		copy(want[haltField:], got[haltField:][:haltBytes]) // the marker may halt the kernel
	}
	n := 0
	for n < len(got) && got[n] == want[n] {
		n++
	}
	// Up to the end of the image, or up to where a file system left NULs.
	return len(bytes.Trim(got[n:], "\x00")) == 0
}

// garbage is what the kernel does not know. The rest of a segment whose beginning was never
// written looks like that.
func (w *walker) garbage(off int64) (Part, error) {
	p := Part{Kind: KindGarbage, Offset: off}
	in, err := locateFooter(w.r, w.size)
	if errors.Is(err, errRead) {
		return Part{}, err
	}
	if err == nil {
		p.Segment = &Installed{Offset: off, Length: w.size - off, torn: true}
		if w.adopt(&p, in) {
			p.Kind = KindSegment
			return w.problem(p, "segment has lost its beginning")
		}
		p.Segment = nil
	}
	return w.problem(p, "neither an archive nor compressed data")
}

// compressed reads one compressed stream and the archives in it.
func (w *walker) compressed(kind string, off int64) (Part, error) {
	p := Part{Kind: kind, Offset: off}
	if kind == KindBzip2 || kind == KindLZMA || kind == KindLZO {
		// Where it ends only a segment of ours tells.
		if in, err := locate(w.r, w.size); err == nil && in.Base > off {
			p.Size = in.Base - off
			return p, nil
		}
		return w.problem(p, "compressed with %s, which is not looked into", kind)
	}
	ctx := w.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	s, err := openStream(ctx, kind, w.r, off, w.size)
	if err == nil {
		defer s.close()
		err = w.unpack(&p, s)
	}
	switch {
	case errors.Is(err, errRead):
		return Part{}, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return w.problem(p, "%s data is torn: the image ends inside it", kind)
	case err != nil:
		return w.problem(p, "%s data: %v", kind, err)
	}
	p.Size = s.size()
	return p, nil
}

// unpack reads the archives of a stream to its end, which checks the stream's own sums.
func (w *walker) unpack(p *Part, s *stream) error {
	src := &pipe{buf: bufio.NewReaderSize(s, bufferBytes), left: w.limit - w.unpacked, limit: w.limit}
	defer func() { w.unpacked += src.off; p.Unpacked = src.off }()
	for {
		c, err := src.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && p.Archives == 0:
			return errors.New("no archive inside")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case c == 0:
			continue
		case c != '0' || (src.off-1)%4 != 0:
			return fmt.Errorf("something that is no archive, at offset %d of the unpacked data", src.off-1)
		}
		if err := src.unread(); err != nil {
			return err
		}
		if err := w.archive(p, src); err != nil {
			return err
		}
	}
}

func (w *walker) archive(p *Part, src *pipe) error {
	a := &archive{src: src, off: src.off}
	for {
		h, err := a.next()
		switch {
		case errors.Is(err, io.EOF):
			p.Archives++
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF) && src.ended:
			return errors.New("the archive inside ends early")
		case err != nil:
			return err
		}
		p.add(h)
		if w.visit != nil {
			w.visit(h)
		}
	}
}
