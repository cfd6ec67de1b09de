package initrd

import (
	"encoding/json"
	"io/fs"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// EntryInfo describes an entry without its content.
type EntryInfo struct {
	Path string
	Mode fs.FileMode
	UID  uint32
	GID  uint32
	Size int64
}

// MarshalJSON writes the mode as people know it: its type as a word and its permissions in octal.
func (i EntryInfo) MarshalJSON() ([]byte, error) {
	kind := "file"
	switch {
	case i.Mode.IsDir():
		kind = "directory"
	case i.Mode&fs.ModeSymlink != 0:
		kind = "symlink"
	}
	return json.Marshal(struct {
		Path string `json:"path"`
		Type string `json:"type"`
		Mode string `json:"mode"`
		UID  uint32 `json:"uid"`
		GID  uint32 `json:"gid"`
		Size int64  `json:"size"`
	}{i.Path, kind, hostfile.Octal(i.Mode), i.UID, i.GID, i.Size})
}

// Part is a piece of an image.
type Part struct {
	Kind      string      `json:"kind"` // one of the constants Kind…
	Offset    int64       `json:"offset"`
	Size      int64       `json:"size"`
	Unpacked  int64       `json:"unpacked,omitempty"`  // bytes after decompression
	Archives  int         `json:"archives,omitempty"`  // complete cpio archives inside
	Entries   int         `json:"entries,omitempty"`   // inside all of them
	Microcode bool        `json:"microcode,omitempty"` // of a processor
	Segment   *Installed  `json:"segment,omitempty"`   // when Kind is KindSegment
	Files     []EntryInfo `json:"files,omitempty"`     // of a whole segment of ours
	Problem   string      `json:"problem,omitempty"`

	stop bool // the walk ended here
}

// Layout is what an image consists of. The parts are in order and cover the image without gaps.
type Layout struct {
	Size  int64  `json:"size"`
	Parts []Part `json:"parts"`
}

// Complete reports whether the whole image was understood: what is appended to it reaches the
// kernel.
func (l *Layout) Complete() bool {
	return len(l.Parts) == 0 || !l.Parts[len(l.Parts)-1].stop
}
