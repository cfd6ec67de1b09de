package initrdsecrets

import (
	"fmt"
	"io/fs"
	"strconv"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// EntryReport is one entry of a manifest, without its content.
type EntryReport struct {
	Path string `json:"path"` // in the image
	From string `json:"from"` // `secret "x"`, `template "x"` or `source /x`
	Mode string `json:"mode"` // in octal digits, of the entry itself or of the file it is
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
}

// list describes the entries of the manifest, in the order of their paths.
func (j *job) list() []EntryReport {
	entries := make([]EntryReport, 0, len(j.manifest.Entries))
	for _, i := range byImagePath(j.manifest.Entries) {
		e := j.manifest.Entries[i]
		mode := declaredMode(e)
		if e.Mode == nil && len(j.sources[i]) > 0 {
			mode = j.sources[i][0].Mode
		}
		entries = append(entries, EntryReport{e.ImagePath(), from(e), octal(mode), e.UID, e.GID})
	}
	return entries
}

// List describes the entries of a manifest without looking at anything of this host.
func List(m *manifest.Initrd) []EntryReport { return (&job{manifest: m}).list() }

func from(e manifest.Entry) string {
	switch {
	case e.Secret != "":
		return fmt.Sprintf("secret %q", e.Secret)
	case e.Template != "":
		return fmt.Sprintf("template %q", e.Template)
	default:
		return "source " + e.Source
	}
}

// octal writes permission bits as chmod takes them, four digits.
func octal(m fs.FileMode) string {
	bits := uint64(m.Perm())
	for flag, bit := range map[fs.FileMode]uint64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04s", strconv.FormatUint(bits, 8))
}
