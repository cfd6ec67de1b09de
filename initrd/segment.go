package initrd

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Segment is a checked set of entries that can be installed into any number of images. It prints
// without its contents.
type Segment struct {
	entries  []Entry         // sorted by path, parents included
	implied  map[string]bool // the directories that were added as parents
	inputs   Digest
	profile  Profile
	empty    bool
	salvaged bool // taken out of an image: its entries stay exactly these
}

// NewSegment checks entries and makes a segment of them. They may come in any order; directories
// above them that are missing are added with mode 0755 and owner root, and so is
// [Profile.CopyDir]. The digest says what the entries were made from. The contents are copied.
//
// The error joins everything that is wrong, each fault with the entry's path and without its
// content.
func NewSegment(entries []Entry, inputs Digest, p Profile) (*Segment, error) {
	var faults []error
	for _, e := range entries {
		faults = append(faults, e.check(p))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s := &Segment{inputs: inputs, profile: p, empty: len(entries) == 0}
	s.entries, s.implied = withParents(entries, p.CopyDir)
	if err := errors.Join(checkTree(s.entries, p.CopyDir), checkLimits(s.entries)); err != nil {
		return nil, err
	}
	for i := range s.entries {
		s.entries[i].Data = slices.Clone(s.entries[i].Data)
	}
	return s, nil
}

// maxSegment bounds the whole: it is made in memory, and boot loaders have no room for more.
const maxSegment = min(math.MaxUint32, math.MaxInt)

func checkLimits(entries []Entry) error {
	if len(entries) > maxEntries {
		return fmt.Errorf("%d entries with their parent directories, but a segment takes %d",
			len(entries), maxEntries)
	}
	if n := archiveBytes(entries); n > maxSegment {
		return fmt.Errorf("the segment would be %d bytes long, but the limit is %d", n, int64(maxSegment))
	}
	return nil
}

// archiveBytes is the length of a segment of these entries.
func archiveBytes(entries []Entry) int64 {
	n := int64(beginHead+tailBytes) + align4(int64(beginBytes))
	n += align4(int64(headerBytes+len(sumsName)+1)) + align4(sumsBytes(entries))
	for _, e := range entries {
		// the NUL takes the place of the leading slash
		n += align4(int64(headerBytes+len(e.Path))) + align4(e.size())
	}
	return n
}

// Empty reports whether the segment was made of no entries. Installing such a segment cuts the
// one that is there.
func (s *Segment) Empty() bool { return s.empty }

// Inputs returns the digest that was given to NewSegment.
func (s *Segment) Inputs() Digest { return s.inputs }

// Entries describes the entries, added parents included, in the order of the archive.
func (s *Segment) Entries() []EntryInfo {
	infos := make([]EntryInfo, len(s.entries))
	for i, e := range s.entries {
		infos[i] = e.info()
	}
	return infos
}

// Content returns a copy of the content of the regular file at a path, nil where there is none.
func (s *Segment) Content(path string) []byte {
	i, ok := slices.BinarySearchFunc(s.entries, path, func(e Entry, path string) int {
		return strings.Compare(e.Path, path)
	})
	if !ok || !s.entries[i].Mode.IsRegular() {
		return nil
	}
	return slices.Clone(s.entries[i].Data)
}

// Format prints how much there is, whatever the verb, and no content.
func (s Segment) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "segment of %d entries, %d bytes", len(s.entries), archiveBytes(s.entries))
}

// outside returns the entries that the base could have, too.
func (s *Segment) outside() []Entry {
	var out []Entry
	for _, e := range s.entries {
		if s.profile.outside(e.Path) {
			out = append(out, e)
		}
	}
	return out
}

// Bytes returns the segment as it lies behind a base of the given length and [Padding] NULs. All
// parent directories are in it; [Install] leaves those out that the base has.
func (s *Segment) Bytes(base int64) ([]byte, error) { return s.encode(base, nil) }

// encode builds the archive, without the entries that are to be omitted.
func (s *Segment) encode(base int64, omit map[string]bool) ([]byte, error) {
	entries := s.entries
	if len(omit) > 0 {
		entries = slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return omit[e.Path] })
	}
	length := archiveBytes(entries)
	foot := footer{version: formatVersion, length: length, inputs: s.inputs}
	b := make([]byte, 0, length)
	own := func(inode int, name string, data []byte) {
		b = appendEntry(b, inode, Entry{Path: "/" + name, Mode: 0o400, Data: data})
	}
	own(beginInode, beginName, marker{formatVersion, base, Padding(base)}.encode())
	own(sumsInode, sumsName, sums(entries))
	for i, e := range entries {
		b = appendEntry(b, firstInode+i, e)
	}
	own(endInode, endName, foot.encode())
	b = append(b, trailer()...)
	if int64(len(b)) != length {
		return nil, fmt.Errorf("build segment: %d bytes instead of %d", len(b), length)
	}
	foot.sum = sumOf(b)
	copy(b[len(b)-trailerBytes-endBytes:], foot.encode())
	if err := judge(b, entries, foot); err != nil {
		return nil, fmt.Errorf("build segment: %w", err)
	}
	return b, nil
}

// judge reads back what was built: it must be a whole segment of exactly these entries.
func judge(b []byte, entries []Entry, want footer) error {
	got, foot, err := readEntries(b)
	switch {
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case foot != want:
		return errors.New("read back: other footer")
	case !slices.EqualFunc(got, entries, sameEntry):
		return errors.New("read back: other entries")
	}
	return nil
}

// readEntries reads a whole segment.
func readEntries(b []byte) (entries []Entry, foot footer, err error) {
	foot, err = readSegment(bytes.NewReader(b), 0, int64(len(b)), func(e Entry, data *archive) error {
		e, err := readContent(e, data)
		entries = append(entries, e)
		return err
	})
	return entries, foot, err
}

// sameEntry compares two entries as an archive can hold them.
func sameEntry(a, b Entry) bool {
	return a.Path == b.Path && linuxMode(a.Mode) == linuxMode(b.Mode) && a.UID == b.UID &&
		a.GID == b.GID &&
		bytes.Equal(a.Data, b.Data) && a.Target == b.Target
}

// sameAs reports whether the segment that lies in an image is the encoded one, but for data that
// is random.
func (s *Segment) sameAs(encoded []byte, image io.ReaderAt, in *Installed) (bool, error) {
	random := slices.ContainsFunc(s.entries, func(e Entry) bool { return e.Random })
	random = random && in.Whole && in.Inputs == s.inputs
	if in.Length != int64(len(encoded)) && !(random && in.Length < 2*int64(len(encoded))) {
		return false, nil
	}
	now := make([]byte, in.Length)
	if err := readAt(image, now, in.Offset); err != nil {
		return false, err
	}
	if !random {
		return bytes.Equal(now, encoded), nil
	}
	old, _, err := readEntries(now)
	if err != nil {
		return false, err
	}
	want, _, err := readEntries(encoded)
	if err != nil {
		return false, err
	}
	isRandom := make(map[string]bool)
	for _, e := range s.entries {
		isRandom[e.Path] = e.Random
	}
	return slices.EqualFunc(old, want, func(a, b Entry) bool {
		if isRandom[b.Path] {
			a.Data, b.Data = nil, nil
		}
		return sameEntry(a, b)
	}), nil
}

// sums is the checksum list of the regular files, in the form that "sha256sum -c" reads in the
// root directory. It comes before them, so that of a segment torn in a power cut no half file
// passes for a whole one.
func sums(entries []Entry) []byte {
	b := make([]byte, 0, sumsBytes(entries))
	for _, e := range entries {
		if e.Mode.IsRegular() {
			b = fmt.Appendf(b, "%x  %s\n", sha256.Sum256(e.Data), e.Path[1:])
		}
	}
	return b
}

func sumsBytes(entries []Entry) int64 {
	var n int64
	for _, e := range entries {
		if e.Mode.IsRegular() {
			n += 2*sha256.Size + 2 + int64(len(e.Path))
		}
	}
	return n
}

// links is the link count of an entry: with 2 or more on a file the kernel would look for its
// other names.
func links(m fs.FileMode) int {
	if m.IsDir() {
		return 2
	}
	return 1
}

// linuxMode is the mode field of an entry.
func linuxMode(m fs.FileMode) uint32 {
	if m.Type() == fs.ModeSymlink {
		return typeSymlink | 0o777
	}
	bits := hostfile.Bits(m)
	if m.IsDir() {
		return typeDir | bits
	}
	return typeRegular | bits
}

// goMode is the reverse; ok is false for a mode that no entry of ours has.
func goMode(mode uint32) (m fs.FileMode, ok bool) {
	m = hostfile.Mode(mode)
	switch mode & typeMask {
	case typeRegular:
	case typeDir:
		m |= fs.ModeDir
	case typeSymlink:
		m |= fs.ModeSymlink
	default:
		return 0, false
	}
	return m, mode == linuxMode(m)
}
