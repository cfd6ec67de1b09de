package bootloader

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
)

// stamps tell whether the files of a menu were written: by name, what a file was.
type stamps map[string]string

// stamps are those of all entries that are there. What cannot be read counts as new when it can.
func (r *run) stamps() stamps {
	all := make(stamps)
	menu, err := Read(r.Kind, r.dir)
	if err != nil {
		menu = &Menu{Kind: r.Kind, dir: r.dir}
	}
	if r.loader.firmware != nil {
		_ = r.loader.firmware(menu, r.Variables) // is tried again afterwards
	}
	for _, e := range menu.Entries {
		all[e.file] = r.stamp(e)
	}
	return all
}

// stamp is what the file is that names the initrd of an entry, and the initrd where it has a fixed
// name.
func (r *run) stamp(e Entry) string {
	var f *os.File
	var err error
	if e.variable {
		f, err = os.Open(e.file)
	} else {
		f, err = r.dir.open(e.file)
	}
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	h := sha256.New()
	if _, read := io.Copy(h, io.LimitReader(f, maxMenuBytes)); err != nil || read != nil {
		return ""
	}
	text := fmt.Sprintf("%x %d", h.Sum(nil), info.ModTime().UnixNano())
	if e.InPlace {
		if info, err := os.Stat(e.Initrds[0]); err == nil {
			text += fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
		}
	}
	return text
}

// wrote says whether the installer wrote an entry, in this run or in one before it that did not
// succeed. Others, such as an entry that the user made, are left as they are.
func (r *run) wrote(ctx context.Context, e Entry) bool {
	last := e.Initrds[len(e.Initrds)-1]
	switch {
	case r.loader.protocol, r.before[e.file] != r.stamp(e):
		return true
	case e.InPlace: // an earlier run put secrets into it
		file, err := r.place(e)
		if err == nil {
			_, err = initrdsecrets.Find(ctx, file)
		}
		return err == nil
	}
	return filepath.Dir(last) == r.dir.host(ownName) // an earlier run gave it this image
}

// pendingName is the file in the directory of records with the stamps from before the last run of
// an installer, until everything that it wrote has its secrets: so a run that was interrupted is
// completed by the next.
const pendingName = "installer-ran"

// pending has stamps by boot directory.
type pending map[string]stamps

// readPending is empty where the last run succeeded. A file that is no such is not ours to judge:
// then only what is written now counts.
func (r *run) readPending() pending {
	p := make(pending)
	data, err := os.ReadFile(filepath.Join(r.Hook.State, pendingName))
	if err == nil && json.Unmarshal(data, &p) != nil {
		return pending{}
	}
	return p
}

func (r *run) writePending(p pending) error {
	if err := record.In(r.Hook.State).Make(); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(atomicfile.OS(), filepath.Join(r.Hook.State, pendingName), data,
		atomicfile.Attr{Mode: 0o600, UID: -1, GID: -1})
}

func (r *run) removePending() error {
	err := os.Remove(filepath.Join(r.Hook.State, pendingName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
