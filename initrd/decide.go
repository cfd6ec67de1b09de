package initrd

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
)

// span is a piece of a file.
type span struct{ off, n int64 }

// decision is what is to become of an image: some of a file, padding, and a segment.
type decision struct {
	Result
	from    atomicfile.File // what the spans are pieces of: image or base
	keep    []span
	segment []byte // nil for none
	tail    []byte // what is written behind the base: padding and segment, in the form of the image
	remove  bool   // the file goes
	whole   bool   // the image holds a whole segment of ours, which overwriting would put at risk
	prefix  bool   // what is kept is the beginning of the image as it is: the rest can be overwritten
	// a segment of ours says where the base ends, and its ends are equal; the rest was not compared
	vouched bool
	wipe    bool // in place, on a file system that may not write in order what truncating changes
}

// decide finds out what the image is and what has to be done to it.
func (j *job) decide() (*decision, error) {
	d := &decision{}
	d.OldSize = -1
	if j.file != nil {
		d.OldSize = j.info.Size
	}
	var err error
	switch {
	case d.OldSize <= 0:
		d.Action = Created
		err = j.finish(d)
		if j.segment.Empty() {
			d.Action = Unchanged
			d.Size = d.OldSize
		}
	case j.Enclose || j.content.enclosed:
		err = j.alone(d)
	case j.base != nil:
		err = j.againstBase(d)
	default:
		err = j.byItself(d)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// retain sets what is kept.
func (d *decision) retain(from atomicfile.File, keep ...span) {
	d.from, d.keep, d.Base = from, keep, 0
	for _, s := range keep {
		d.Base += s.n
	}
}

// finish builds the segment for what is kept, and sets the rest of the result.
func (j *job) finish(d *decision) error {
	d.tail = nil
	if !j.segment.Empty() {
		if err := j.fit(d); err != nil {
			return err
		}
		segment, err := j.segment.encode(d.Base, j.omit)
		if err != nil {
			return err
		}
		foot, err := decodeFooter(segment[len(segment)-endBytes-trailerBytes:][:endBytes])
		if err != nil {
			return err
		}
		d.Offset, d.Length, d.Sum = d.Base+Padding(d.Base), int64(len(segment)), foot.sum
		d.tail = append(make([]byte, Padding(d.Base), Padding(d.Base)+d.Length), segment...)
		d.segment = d.tail[Padding(d.Base):]
		if j.Enclose {
			if d.tail, err = enclose(d.tail); err != nil {
				return fmt.Errorf("image %s: %w", j.image, err)
			}
		}
	}
	d.Size = d.Base + int64(len(d.tail))
	d.Written = d.Size
	return nil
}

// alone is for an image that is a segment of ours in a frame and nothing else, or is to become
// one.
func (j *job) alone(d *decision) error {
	in, err := find(j.content.r, j.content.size)
	if err != nil && !errors.Is(err, ErrNoSegment) {
		return err
	}
	d.Action = Repaired
	switch {
	case in != nil && in.Base == 0:
		d.Action = j.actionOn(in)
	case in == nil:
		torn, err := j.tornAlone()
		if err != nil {
			return err
		}
		if torn {
			break
		}
		fallthrough
	default:
		j.hint = "without the form of an image of its own, the segment is put behind what is there"
		return fmt.Errorf("image %s: holds something else than enclosed secrets, "+
			"which an enclosed segment would replace", j.image)
	}
	d.retain(j.file)
	d.Cut = d.OldSize
	if j.content.enclosed == j.Enclose {
		if same, err := j.sameAsNow(d, in); err != nil || same {
			return err
		}
	} else if err := j.finish(d); err != nil {
		return err
	}
	if d.remove = d.segment == nil; d.remove {
		d.Action, d.Size = Removed, -1
	}
	return nil
}

// fit compares the entries that the base could have, too, with the base, once in a run.
func (j *job) fit(d *decision) error {
	if j.omit != nil || len(j.segment.outside()) == 0 {
		return nil
	}
	var base io.ReaderAt = &spans{j.read(d.from), d.keep}
	size := d.Base
	switch {
	case j.base != nil:
		base, size = j.read(j.base), j.baseLen
	case size == 0 && j.segment.profile.NeedBase:
		return fmt.Errorf("image %s: has no base, and %s to be compared with one", j.image,
			j.segment.need())
	}
	var err error
	var warnings []Warning
	j.omit, warnings, err = j.segment.fit(j.ctx, base, size)
	d.Warnings = append(d.Warnings, warnings...)
	return err
}

// againstBase is for an image whose pristine base is known.
func (j *job) againstBase(d *decision) error {
	in, err := find(j.content.r, d.OldSize)
	if err != nil && !errors.Is(err, ErrNoSegment) {
		return err
	}
	d.whole = in != nil && in.endangered()
	d.retain(j.base, span{0, j.baseLen})
	if same, err := j.sameAsNow(d, in); err != nil || same {
		return err
	}
	equal, err := j.equalToBase(d, in)
	if err != nil {
		return err
	}
	d.Action = Appended
	switch {
	case equal == j.baseLen:
		d.prefix = true
		d.Cut = d.OldSize - j.baseLen
		if err := j.behindBase(d, in); err != nil {
			return err
		}
	case equal == d.OldSize || onlyNULs(j.content.r, equal, d.OldSize):
		d.Action = Repaired
	case in != nil && in.Base == 0:
		// The loader keeps our segment in a file of its own, and it is installed there a second
		// time.
		d.retain(j.file)
		d.prefix, d.Action, d.Cut = true, j.actionOn(in), d.OldSize
		if same, err := j.sameAsNow(d, in); err != nil || same {
			return err
		}
	default:
		torn, err := j.tornAlone()
		if err != nil {
			return err
		}
		if !torn {
			return j.otherBase(equal)
		}
		d.retain(j.file)
		d.prefix, d.Action, d.Cut = true, Repaired, d.OldSize
	}
	return j.finish(d)
}

// equalToBase returns how many bytes at the beginning of the image are those of the base. Where a
// whole segment of ours says that it was put behind as many bytes, their ends are compared and
// the middle is not read: the new image is written from the base anyway.
func (j *job) equalToBase(d *decision, in *Installed) (int64, error) {
	if in != nil && in.Whole && in.Base == j.baseLen {
		same, err := sameEnds(j.content.r, j.read(j.base), j.baseLen)
		if err != nil || same {
			d.vouched = true
			return j.baseLen, err
		}
	}
	return commonPrefix(j.content.r, d.OldSize, j.read(j.base), j.baseLen)
}

// compareVouched compares what equalToBase did not, before a base that the image has is kept.
func (j *job) compareVouched(d *decision) error {
	if !d.vouched {
		return nil
	}
	equal, err := commonPrefix(j.content.r, d.OldSize, j.read(j.base), j.baseLen)
	if err == nil && equal < j.baseLen {
		err = j.otherBase(equal)
	}
	return err
}

func (j *job) otherBase(equal int64) error {
	j.hint = "move it away and run the boot loader's installer again, which makes it from the base"
	return fmt.Errorf("image %s: is neither base %s, nor a truncated copy of it, "+
		"nor that base with something behind it: they differ at offset %d",
		j.image, j.Base, equal)
}

// sameAsNow finishes the decision and reports whether the image is already so. Of a base no more
// than its ends are read.
func (j *job) sameAsNow(d *decision, in *Installed) (bool, error) {
	if err := j.finish(d); err != nil {
		return false, err
	}
	switch {
	case d.segment == nil && d.Size != d.OldSize:
		return false, nil
	case d.segment != nil:
		// NULs may follow, where the segment took the place of a longer one.
		if in == nil || in.Base != d.Base {
			return false, nil
		}
		if same, err := j.segment.sameAs(d.segment, j.content.r, in); err != nil || !same {
			return false, err
		}
		d.Length, d.Sum = in.Length, in.Sum
	}
	if d.from == j.base && j.base != nil {
		if same, err := sameEnds(j.content.r, j.read(j.base), d.Base); err != nil || !same {
			return false, err
		}
	}
	d.Action, d.Size, d.Written, d.Cut = Unchanged, d.OldSize, 0, 0
	return true, nil
}

// endangered reports whether there is a segment to lose: a whole one, or one of which that is not
// known.
func (in *Installed) endangered() bool {
	return in.Whole || in.Version != formatVersion && !in.torn
}

// actionOn is the action on an image that holds this segment.
func (j *job) actionOn(in *Installed) Action {
	switch {
	case j.segment.Empty():
		return Removed
	case in.endangered():
		return Replaced
	}
	return Repaired
}

// behindBase says what it is that lies behind the base and is cut.
func (j *job) behindBase(d *decision, in *Installed) error {
	if d.Cut == 0 {
		return nil
	}
	foreign := d.Cut
	if in != nil && in.Base >= j.baseLen {
		d.Action = j.actionOn(in)
		foreign = in.Base - j.baseLen
	} else {
		w := &walker{ctx: j.ctx, r: j.content.r, size: d.OldSize}
		if err := w.walkFrom(j.baseLen); err != nil {
			return err
		}
		for _, p := range w.parts {
			if p.Kind == KindSegment {
				d.Action = j.actionOn(p.Segment)
				foreign -= p.Size
			}
			if p.Kind == KindPadding {
				foreign -= p.Size
			}
		}
	}
	if j.segment.Empty() {
		d.Action = Removed
	}
	if foreign > 0 {
		d.warn("image %s: %d bytes that somebody else had put behind the base were cut", j.image, foreign)
	}
	return nil
}

// tornAlone reports whether the image is a torn segment of ours without any base.
func (j *job) tornAlone() (bool, error) {
	if j.content.size < 4 || !onlyNULs(j.content.r, 0, 4) {
		return false, nil
	}
	w := &walker{ctx: j.ctx, r: j.content.r, size: j.content.size}
	if err := w.walk(); err != nil {
		return false, err
	}
	for _, p := range w.parts {
		switch p.Kind {
		case KindPadding:
		case KindSegment:
			return p.Segment.Base == 0, nil
		default:
			return false, nil
		}
	}
	return false, nil
}

// byItself is for an image of which nothing is known.
func (j *job) byItself(d *decision) error {
	in, err := find(j.content.r, d.OldSize)
	switch {
	case errors.Is(err, ErrNoSegment):
		return j.byWalk(d)
	case err != nil:
		return err
	}
	base := in.Base
	for {
		// Several segments in a row: versions before this one left them, or a tool that is not
		// ours.
		inside, err := openEnclosed(j.content.r, base)
		if err != nil {
			return err
		}
		if inside != nil {
			base = 0
		}
		before, err := locate(j.content.r, base)
		if errors.Is(err, ErrNoSegment) {
			break
		}
		if err != nil {
			return err
		}
		base = before.Base
	}
	d.whole, d.prefix = in.endangered(), true
	d.retain(j.file, span{0, base})
	d.Action, d.Cut = j.actionOn(in), d.OldSize-base
	_, err = j.sameAsNow(d, in)
	return err
}

// byWalk is for an image that does not end in a segment of ours: all of it is read.
func (j *job) byWalk(d *decision) error {
	w := &walker{ctx: j.ctx, r: j.content.r, size: d.OldSize}
	if err := w.walk(); err != nil {
		return err
	}
	keep, action, err := j.cut(w.parts, d.OldSize)
	if err != nil {
		return err
	}
	d.Action = action
	d.retain(j.file, keep...)
	d.prefix = len(keep) <= 1
	d.Cut = d.OldSize - d.Base
	for _, p := range w.parts {
		d.whole = d.whole || p.Segment != nil && p.Segment.endangered()
	}
	if err := j.finish(d); err != nil {
		return err
	}
	if j.segment.Empty() && d.Cut == 0 {
		d.Action, d.Written = Unchanged, 0
	}
	return nil
}

// cut takes the segments of ours out of what a walk found. What others put behind them stays, at
// an offset of the same remainder.
func (j *job) cut(parts []Part, size int64) (keep []span, action Action, err error) {
	action = Appended
	from := int64(0)
	archives := false
	for i, p := range parts {
		switch {
		case p.Kind == KindSegment:
			if action == Appended {
				action = j.actionOn(p.Segment)
			}
			last := !slices.ContainsFunc(parts[i+1:], func(p Part) bool {
				return p.Kind != KindSegment && p.Kind != KindPadding
			})
			if last {
				return append(keep, span{from, p.Segment.Base - from}), action, nil
			}
			if p.Size%4 != 0 {
				return nil, "", fmt.Errorf("image %s: what lies behind the segment at offset %d "+
					"would lose its alignment", j.image, p.Offset)
			}
			keep = append(keep, span{from, p.Offset - from})
			from = p.Offset + p.Size
		case p.stop:
			return nil, "", j.refuse(p, archives)
		case p.Kind != KindPadding:
			archives = true
		}
	}
	if !archives {
		return nil, "", fmt.Errorf("image %s: holds nothing but NULs: it is not an initrd", j.image)
	}
	return append(keep, span{from, size - from}), action, nil
}

// refuse is the error for an image that cannot be understood.
func (j *job) refuse(p Part, archives bool) error {
	what := "cannot be appended to"
	if !archives && p.Kind == KindGarbage {
		what = "is not an initrd"
	}
	j.hint = "the kernel would lose what is put behind this; name the pristine initrd as base, " +
		"or have the boot loader install the image again"
	return fmt.Errorf("image %s: %s: %s at offset %d", j.image, what, p.Problem, p.Offset)
}
