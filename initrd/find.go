package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Errors of the methods of [Image]; those of reading are returned as they are.
var (
	ErrNoSegment = errors.New("no segment of ours at the end of the image")
	ErrDamaged   = errors.New("segment is damaged")
	ErrVersion   = errors.New("segment has an unknown version")
	ErrStale     = errors.New("segment was made from other inputs")
)

// Installed describes a segment of ours that was found in an image.
type Installed struct {
	Offset   int64  `json:"offset"`
	Length   int64  `json:"length"`
	Base     int64  `json:"base"`     // bytes of the image before the padding
	Padding  int64  `json:"padding"`  // NULs between base and segment
	Trailing int64  `json:"trailing"` // NULs between the segment and the end of the image
	Version  uint32 `json:"version"`
	Whole    bool   `json:"whole"` // the SHA-256 matches; never for an unknown version
	Inputs   Digest `json:"-"`     // zero for an unknown version
	Sum      Sum    `json:"-"`     // zero for an unknown version

	torn bool // it has no end, or no beginning
}

// Format prints the segment without its digests, whatever the verb.
func (in Installed) Format(f fmt.State, _ rune) {
	state := "whole"
	if !in.Whole {
		state = "not whole"
	}
	_, _ = fmt.Fprintf(f, "segment of version %d, %s, %d bytes at offset %d behind a base of %d bytes",
		in.Version, state, in.Length, in.Offset, in.Base)
}

func find(r io.ReaderAt, size int64) (*Installed, error) {
	in, err := locate(r, size)
	if err != nil {
		return nil, err
	}
	if in.Version != formatVersion {
		return in, nil
	}
	return in, in.examine(r)
}

// locate finds footer and marker, which prove the place of the segment, and does not read between
// them.
func locate(r io.ReaderAt, size int64) (*Installed, error) {
	in, err := locateFooter(r, size)
	if err != nil {
		return nil, err
	}
	if err := in.readMarker(r); err != nil {
		return nil, err
	}
	return in, nil
}

// locateFooter finds the footer at the end of an image, which says where its segment begins.
func locateFooter(r io.ReaderAt, size int64) (*Installed, error) {
	stop, err := behindLast(r, size)
	if err != nil {
		return nil, err
	}
	stop += int64(trailerBytes - headerBytes - len(trailerName)) // the trailer itself ends in NULs
	if stop > size {
		return nil, ErrNoSegment
	}
	tail := make([]byte, min(stop, int64(lastBytes+trailerBytes)))
	if err := readAt(r, tail, stop-int64(len(tail))); err != nil {
		return nil, err
	}
	tail, ok := bytes.CutSuffix(tail, trailer())
	if !ok || len(tail) < lastBytes {
		return nil, ErrNoSegment
	}
	version, length, err := decodeLast(tail[len(tail)-lastBytes:])
	in := &Installed{Offset: stop - length, Length: length, Trailing: size - stop, Version: version}
	if err != nil || length < int64(minSegment) || length > maxSegment || in.Offset < 4 ||
		in.Offset%4 != 0 {
		return nil, ErrNoSegment
	}
	return in, nil
}

// behindLast is the offset behind the last byte that is not NUL.
func behindLast(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, min(size, bufferBytes))
	for stop := size; stop > 0; stop -= int64(len(buf)) {
		buf = buf[:min(stop, bufferBytes)]
		from := stop - int64(len(buf))
		if err := readAt(r, buf, from); err != nil {
			return 0, err
		}
		if rest := bytes.TrimRight(buf, "\x00"); len(rest) > 0 {
			return from + int64(len(rest)), nil
		}
	}
	return 0, nil
}

// readMarker reads the marker at in.Offset and checks that it belongs there. A copy of a segment
// inside somebody's file says that it lies elsewhere.
func (in *Installed) readMarker(r io.ReaderAt) error {
	a := archive{src: newWindow(r, in.Offset, in.Offset+in.Length)}
	m, err := a.marker()
	switch {
	case errors.Is(err, errRead):
		return err
	case err != nil, m.version != in.Version, m.padding != Padding(m.base), m.base+m.padding != in.Offset:
		return ErrNoSegment
	}
	gap := make([]byte, m.padding)
	if err := readAt(r, gap, m.base); err != nil {
		return err
	}
	if len(bytes.Trim(gap, "\x00")) > 0 {
		return ErrNoSegment
	}
	in.Base, in.Padding = m.base, m.padding
	return nil
}

// marker reads the first entry of a segment of any version.
func (a *archive) marker() (marker, error) {
	h, err := a.next()
	if err != nil {
		return marker{}, err
	}
	if h.name != beginName || h.mode&typeMask != typeRegular || h.size < uint32(beginBytes) {
		return marker{}, errNotOurs
	}
	data := make([]byte, beginBytes)
	if err := a.content(data); err != nil {
		return marker{}, err
	}
	return decodeMarker(data)
}

// examine reads the segment and sets Whole, Inputs and Sum. Only errors of reading are returned.
func (in *Installed) examine(r io.ReaderAt) error {
	foot, err := readSegment(r, in.Offset, in.Length, nil)
	if err != nil {
		if errors.Is(err, errRead) {
			return err
		}
		return nil
	}
	in.Inputs, in.Sum, in.Whole = foot.inputs, foot.sum, true
	return nil
}

// readSegment reads a whole segment of this version and checks all of it. Each entry but marker,
// sums and footer is shown to visit, without its content, which visit can read.
func readSegment(
	r io.ReaderAt, off, length int64, visit func(Entry, *archive) error,
) (footer, error) {
	sum := newSummer(length)
	if n, err := io.Copy(sum, io.NewSectionReader(r, off, length)); err != nil {
		return footer{}, readError(err)
	} else if n != length {
		return footer{}, damaged("it ends early")
	}
	a := &archive{src: newWindow(r, off, off+length)}
	if m, err := a.marker(); err != nil || m.version != formatVersion {
		return footer{}, orDamaged(err, "marker")
	}
	if h, err := a.next(); err != nil || h.name != sumsName {
		return footer{}, orDamaged(err, "checksum list")
	}
	last := ""
	for n := 0; ; n++ {
		h, err := a.next()
		switch {
		case err != nil:
			return footer{}, orDamaged(err, "entry")
		case n > maxEntries:
			return footer{}, damaged("more than %d entries", maxEntries)
		case h.name == endName:
			return readFooter(a, h, length, sum.sum())
		}
		e, ok := h.entry()
		if !ok || e.Path <= last || checkPath(e.Path) != "" {
			return footer{}, damaged("entry at offset %d", off+h.offset)
		}
		last = e.Path
		if visit == nil {
			continue
		}
		if err := visit(e, a); err != nil {
			return footer{}, err
		}
	}
}

// readFooter reads the footer of which h is the header, and what follows.
func readFooter(a *archive, h *header, length int64, sum Sum) (footer, error) {
	if h.size != uint32(endBytes) {
		return footer{}, damaged("footer")
	}
	data := make([]byte, endBytes)
	if err := a.content(data); err != nil {
		return footer{}, orDamaged(err, "footer")
	}
	foot, err := decodeFooter(data)
	if err != nil || foot.version != formatVersion || foot.length != length || foot.sum != sum {
		return footer{}, damaged("footer")
	}
	if _, err := a.next(); !errors.Is(err, io.EOF) || a.off != length {
		return footer{}, orDamaged(err, "trailer")
	}
	return foot, nil
}

// entry makes an Entry without content of a header; ok is false when no entry of ours looks so.
func (h *header) entry() (e Entry, ok bool) {
	mode, ok := goMode(h.mode)
	e = Entry{Path: "/" + h.name, Mode: mode, UID: h.uid, GID: h.gid}
	return e, ok && path.Clean(e.Path) == e.Path && !strings.HasPrefix(h.name, "/") &&
		(!mode.IsDir() || h.size == 0)
}

// readContent reads the content of the entry that data stands at.
func readContent(e Entry, data *archive) (Entry, error) {
	content := make([]byte, data.size)
	if err := data.content(content); err != nil {
		return Entry{}, err
	}
	if e.Mode.Type() == fs.ModeSymlink {
		e.Target = string(content)
	} else {
		e.Data = content
	}
	return e, nil
}

func verify(r io.ReaderAt, size int64, want *Digest) error {
	in, err := find(r, size)
	switch {
	case err != nil:
		return err
	case in.Version != formatVersion:
		return fmt.Errorf("%w (%d)", ErrVersion, in.Version)
	case !in.Whole:
		return ErrDamaged
	case want != nil && in.Inputs != *want:
		return ErrStale
	}
	return nil
}

func entries(r io.ReaderAt, in *Installed) ([]EntryInfo, error) {
	if in.Version != formatVersion {
		return nil, fmt.Errorf("%w (%d)", ErrVersion, in.Version)
	}
	var infos []EntryInfo
	_, err := readSegment(r, in.Offset, in.Length, func(e Entry, data *archive) error {
		i := e.info()
		i.Size = data.size
		infos = append(infos, i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return infos, nil
}

func extract(r io.ReaderAt, in *Installed, p Profile) (*Segment, error) {
	switch {
	case in.Version != formatVersion:
		return nil, fmt.Errorf("%w (%d)", ErrVersion, in.Version)
	case !in.Whole: // its headers may claim any size
		return nil, ErrDamaged
	}
	raw := make([]byte, in.Length)
	if err := readAt(r, raw, in.Offset); err != nil {
		return nil, err
	}
	s := &Segment{salvaged: true, profile: p}
	foot, err := readSegment(bytes.NewReader(raw), 0, in.Length, func(e Entry, data *archive) error {
		e, err := readContent(e, data)
		s.entries = append(s.entries, e)
		return errors.Join(err, e.check(p))
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkTree(s.entries, p.CopyDir), checkLimits(s.entries)); err != nil {
		return nil, damaged("%w", err)
	}
	s.inputs = foot.inputs
	if again, err := s.encode(in.Base, nil); err != nil || !bytes.Equal(again, raw) {
		return nil, damaged("its bytes are not those of its entries")
	}
	return s, nil
}

// errRead marks faults of reading the image, apart from what was read.
var errRead = errors.New("read image")

func readError(err error) error { return fmt.Errorf("%w: %w", errRead, err) }

// readAt fills p. An image that ends earlier than its size said is a fault of reading.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return readError(err)
	}
	return nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// orDamaged returns err when it is one of reading, else that the named thing is damaged.
func orDamaged(err error, what string) error {
	if errors.Is(err, errRead) {
		return err
	}
	return damaged("%s", what)
}
