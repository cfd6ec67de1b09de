package initrd

import (
	"bytes"
	"testing"
)

func TestInspect_kinds(t *testing.T) {
	t.Parallel()
	for kind := range compressors() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for extra := range 9 { // bases of all remainders
				plain := newc(rec{"a", typeRegular | 0o644, string(noise(3, 70_000+extra*7))}, rec{"b", typeDir | 0o755, ""})
				base := compress(t, kind, plain)
				s := mustSegment(t, secrets("one", "two"), Digest{1})
				image := join(t, base, s)
				l, err := inspect(bytes.NewReader(image), int64(len(image)))
				if err != nil {
					t.Fatal(err)
				}
				if len(l.Parts) != 3 || !l.Complete() {
					t.Fatalf("parts %+v", l.Parts)
				}
				b, s2 := l.Parts[0], l.Parts[2]
				if b.Kind != kind || b.Entries != 2 || b.Archives != 1 || b.Size != int64(len(base)) || b.Problem != "" {
					t.Errorf("base of %d bytes: %+v", len(base), b)
				}
				if s2.Kind != KindSegment || !s2.Segment.Whole || s2.Segment.Base != int64(len(base)) || len(s2.Files) != 5 {
					t.Errorf("segment %+v", s2)
				}
			}
		})
	}
}
