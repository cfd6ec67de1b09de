package initrd

import (
	"errors"
	"io"
	"io/fs"
)

// errNotImplemented stands in for a body that is still being written.
var errNotImplemented = errors.New("not implemented")

// Entry is one file, directory or symbolic link of a segment.
type Entry struct {
	Path     string      // absolute and clean, such as "/.initrd-secrets/etc/luks.key"
	Mode     fs.FileMode // type 0 (regular), ModeDir or ModeSymlink; permission, setuid, setgid and sticky bits
	UID, GID uint32
	Data     []byte // of a regular file
	Target   string // of a symbolic link
}

// Digest is the caller's digest of everything a segment was made from. It is stored in the segment and compared by Verify.
type Digest [32]byte

// Sum is the SHA-256 of a segment, the same wherever in an image the segment lies.
type Sum [32]byte

// Segment is a checked set of entries that can be installed into an image.
type Segment struct{}

// NewSegment checks entries and makes a segment of them.
func NewSegment(entries []Entry, inputs Digest) (*Segment, error) { return nil, errNotImplemented }

// Empty reports whether the segment was made of no entries: installing it cuts the segment that is there.
func (s *Segment) Empty() bool { return true }

// Inputs returns the digest that was given to NewSegment.
func (s *Segment) Inputs() Digest { return Digest{} }

// Bytes returns the segment as it is written behind Padding(base) NULs and a base of the given length.
func (s *Segment) Bytes(base int64) ([]byte, error) { return nil, errNotImplemented }

// Padding is the number of NULs between a base of the given length and the segment.
func Padding(base int64) int64 { return (4-base%4)%4 + 4 }

// Action says what Install, Plan or Remove did or would do to the image.
type Action string

// The actions.
const (
	Unchanged Action = "unchanged" // nothing was written
	Created   Action = "created"   // the image was missing or empty and now holds the segment alone
	Appended  Action = "appended"  // the image held no segment of ours
	Replaced  Action = "replaced"  // a segment of ours was replaced
	Repaired  Action = "repaired"  // a torn segment or a truncated base was mended
	Removed   Action = "removed"   // a segment of ours was cut and nothing put in its place
)

// Options of Install, Plan and Remove. The zero value is usable.
type Options struct {
	Base         string // the pristine initrd the image was made from; "" when it is not known
	AllowInPlace bool   // overwrite the tail of the image when there is no room for a second copy
}

// Warning is something the caller should tell: the run still did what was asked.
type Warning struct {
	Text string
	Hint string // what to do about it, or ""
}

// Result says what was, or would be, done.
type Result struct {
	Action   Action
	InPlace  bool  // the tail was overwritten instead of replacing the file
	OldSize  int64 // bytes of the image before; -1 when it did not exist
	Size     int64 // bytes of the image after
	Base     int64 // bytes of the image before the padding
	Offset   int64 // where the segment begins; 0 when there is none
	Length   int64 // bytes of the segment; 0 when there is none
	Cut      int64 // bytes behind the base that were there and are gone, the old segment included
	Written  int64 // bytes written
	Sum      Sum   // of the segment installed
	Warnings []Warning
}

// Install puts s at the end of image, in place of any segment of ours that is there.
func Install(image string, s *Segment, o Options) (Result, error) {
	return Result{}, errNotImplemented
}

// Plan makes the decisions of Install and writes nothing.
func Plan(image string, s *Segment, o Options) (Result, error) {
	return Result{}, errNotImplemented
}

// Remove cuts the segment of ours from image.
func Remove(image string, o Options) (Result, error) { return Result{}, errNotImplemented }

// Errors of Find, Verify and Extract.
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
	Base     int64  `json:"base"`
	Padding  int64  `json:"padding"`
	Trailing int64  `json:"trailing"` // NULs behind the segment
	Version  int    `json:"version"`
	Whole    bool   `json:"whole"` // the SHA-256 matches; false for an unknown version
	Inputs   Digest `json:"-"`
	Sum      Sum    `json:"-"`
}

// Find looks for a segment of ours at the end of an image. It reads the tail of the image only. The error is ErrNoSegment
// when the image does not end in one.
func Find(r io.ReaderAt, size int64) (*Installed, error) { return nil, errNotImplemented }

// Verify reports whether the image ends in a whole segment of ours made from the given inputs; a nil want accepts any inputs.
// The error is ErrNoSegment, ErrDamaged, ErrVersion or ErrStale, or that of reading.
func Verify(r io.ReaderAt, size int64, want *Digest) error { return errNotImplemented }

// Extract takes a whole segment of ours out of an image, to be installed again, at any base, without its sources.
func Extract(r io.ReaderAt, in *Installed) (*Segment, error) { return nil, errNotImplemented }

// EntryInfo describes an entry without its content.
type EntryInfo struct {
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	UID  uint32      `json:"uid"`
	GID  uint32      `json:"gid"`
	Size int64       `json:"size"`
}

// Entries lists the entries of a segment of ours, parents included, without their contents.
func Entries(r io.ReaderAt, in *Installed) ([]EntryInfo, error) { return nil, errNotImplemented }

// Part is a piece of an image. The parts of a Layout cover the image without gaps.
type Part struct {
	Kind      string      `json:"kind"` // segment, cpio, gzip, bzip2, lzma, xz, lzo, lz4, zstd, padding, damaged
	Offset    int64       `json:"offset"`
	Size      int64       `json:"size"`
	Unpacked  int64       `json:"unpacked,omitempty"` // bytes after decompression
	Archives  int         `json:"archives,omitempty"` // cpio archives inside
	Entries   int         `json:"entries,omitempty"`
	Microcode bool        `json:"microcode,omitempty"`
	Segment   *Installed  `json:"segment,omitempty"` // of a segment of ours
	Files     []EntryInfo `json:"files,omitempty"`   // of a segment of ours
	Problem   string      `json:"problem,omitempty"` // what the kernel would stumble over
}

// Layout is what an image consists of.
type Layout struct {
	Size  int64  `json:"size"`
	Parts []Part `json:"parts"`
}

// Inspect walks a whole image and says what it consists of. The error is that of reading; damage is part of the layout.
func Inspect(r io.ReaderAt, size int64) (*Layout, error) { return nil, errNotImplemented }
