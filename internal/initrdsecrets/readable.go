package initrdsecrets

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// warnIfReadable warns when others will be able to read the copy of the image that the loader
// makes in another directory. What its mode will be is known only where the file system has
// none.
func (o Options) warnIfReadable(image string) {
	var st unix.Statfs_t
	if o.Installed == "" || unix.Statfs(o.Installed, &st) != nil ||
		!hostfile.Modeless(int64(st.Type)) { //nolint:unconvert // int32 on some hosts
		return
	}
	if open, err := hostfile.Readable(o.Installed); err != nil || !open {
		return
	}
	known := o.KnownAs(image)
	o.Warn(fmt.Sprintf("image %s: other users of this host can read its secrets", known),
		hostfile.Closing(o.Installed, known, true))
}
