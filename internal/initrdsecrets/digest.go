package initrdsecrets

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// digestScheme is mixed into every input digest, so that a change of what is hashed makes all
// digests differ.
const digestScheme = "sops-initrd inputs 1"

// inputs is a digest of everything that decides the content of a segment, found without any
// key: the encrypted values and templates that the entries need, the entries themselves, and
// the content of the host's files among them. It changes when the segment's content would, and
// only then; a sops file that was merely encrypted for other recipients leaves it.
//
// It covers host files in plain, so it goes into the image and nowhere else.
func (j *job) inputs() (initrd.Digest, error) {
	var sum initrd.Digest
	m := j.manifest
	values := sha256.New()
	if err := resolve.Inputs(j.request, values); err != nil {
		return sum, err
	}
	h := sha256.New()
	field(h, []byte(digestScheme))
	field(h, values.Sum(nil))
	for _, i := range byImagePath(m.Entries) {
		e := m.Entries[i]
		switch {
		case e.Secret != "":
			field(h, []byte("secret"), []byte(e.Secret), head(e.ImagePath(), declaredMode(e), e.UID, e.GID))
		case e.Template != "":
			field(h, []byte("template"), []byte(e.Template), head(e.ImagePath(), declaredMode(e), e.UID,
				e.GID))
		default:
			field(h, []byte("source"), binary.BigEndian.AppendUint64(nil, uint64(len(j.sources[i]))))
			for _, s := range j.sources[i] {
				content := sha256.Sum256(s.Data)
				field(h, head(s.Path, s.Mode, s.UID, s.GID), []byte(s.Target), content[:])
			}
		}
	}
	j.sealing.digest(h, m)
	h.Sum(sum[:0])
	return sum, nil
}

// field hashes byte strings so that no two lists of them hash the same bytes.
func field(h hash.Hash, parts ...[]byte) {
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
}

func head(path string, mode fmt.Stringer, uid, gid uint32) []byte {
	return fmt.Appendf(nil, "%s %d:%d %s", mode, uid, gid, path)
}

// byImagePath gives the order of entries that does not depend on the order in the manifest.
func byImagePath(entries []manifest.Entry) []int {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Compare(entries[a].ImagePath(),
			entries[b].ImagePath())
	})
	return order
}
