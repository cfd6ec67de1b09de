package initrdsecrets

import (
	"fmt"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
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
		entries = append(entries, EntryReport{e.ImagePath(), from(e), hostfile.Octal(mode), e.UID, e.GID})
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
