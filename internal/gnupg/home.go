package gnupg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxSocketDirBytes keeps "/S.gpg-agent.browser" behind it within the 107 bytes of a Unix socket's
	// path, see unix(7).
	maxSocketDirBytes = 80
	// stopTimeout is how long the agent may take to end.
	stopTimeout = 10 * time.Second
)

// home is a gpg home directory in the making: a hidden directory beside its final place, so that no
// private key ever lies on another file system and the last step is one rename.
type home struct {
	final   string   // where it will be
	dir     string   // where it is; empty once published
	linkDir string   // holds alias; has a short name, as the agent's sockets need one
	alias   string   // symlink to dir
	parents []string // directories made for final, innermost first
}

// newHome makes the directory and its missing parents. After an error nothing is left.
func newHome(final string) (_ *home, err error) {
	if final, err = filepath.Abs(final); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return nil, err
	}
	h := &home{final: final}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.remove())
		}
	}()
	parent := filepath.Dir(final)
	if err := h.makeParents(parent); err != nil {
		return nil, err
	}
	if h.dir, err = os.MkdirTemp(parent, ".sops-init-gpg-key-"); err != nil {
		return nil, err
	}
	short := os.TempDir()
	if len(short)+len("/gpg-0123456789/h") > maxSocketDirBytes {
		short = "/tmp"
	}
	if h.linkDir, err = os.MkdirTemp(short, "gpg-"); err != nil {
		return nil, err
	}
	h.alias = filepath.Join(h.linkDir, "h")
	return h, os.Symlink(h.dir, h.alias)
}

// makeParents is MkdirAll that remembers what it made.
func (h *home) makeParents(dir string) error {
	var missing []string
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, dir)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o755); err != nil {
			return err
		}
		h.parents = append([]string{missing[i]}, h.parents...)
	}
	return nil
}

// command is a program of GnuPG that works in the home and speaks English.
func (h *home) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+h.alias, "LC_ALL=C")
	return cmd
}

// gpg runs gpg without questions and returns what it prints.
func (h *home) gpg(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := h.command(ctx, "gpg", append([]string{"--batch", "--quiet", "--no-tty"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("gpg %s: %w", args[0], context.Cause(ctx))
	}
	if said := strings.TrimSpace(stderr.String()); said != "" {
		return nil, fmt.Errorf("gpg %s: %w\n%s", args[0], err, said)
	}
	return nil, fmt.Errorf("gpg %s: %w", args[0], err)
}

// publish gives the home its final name. Before that the agent is stopped, as the agent keeps its
// sockets in the home, and all files are brought to the disk.
func (h *home) publish() error {
	if err := h.stopAgent(); err != nil {
		return err
	}
	if err := syncTree(h.dir); err != nil {
		return err
	}
	// Mkdir is the exclusive step; rename(2) replaces an empty directory in one piece. os.Rename
	// refuses to.
	if err := os.Mkdir(h.final, 0o700); err != nil {
		return err
	}
	if err := unix.Rename(h.dir, h.final); err != nil {
		return errors.Join(&os.LinkError{Op: "rename", Old: h.dir, New: h.final, Err: err}, os.Remove(h.final))
	}
	h.dir, h.parents = "", nil
	return syncFile(filepath.Dir(h.final))
}

// stopAgent ends the daemons that gpg started for this home and removes what only they need.
func (h *home) stopAgent() error {
	// Stopping must work after the caller's context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, action := range [][]string{{"--kill", "all"}, {"--remove-socketdir"}} {
		// No agent and no directory for sockets are the usual reasons for these to fail, and are what is
		// wanted. A gpgconf that cannot be run at all leaves the sockets, which are looked for below.
		_ = h.command(ctx, "gpgconf", action...).Run()
	}
	socket := filepath.Join(h.dir, "S.gpg-agent")
	for {
		if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("gpg-agent does not end")
		case <-time.After(20 * time.Millisecond):
		}
	}
	var faults []error
	for _, pattern := range []string{"S.*", ".#lk*", "*.lock", "*~"} {
		leftovers, _ := filepath.Glob(filepath.Join(h.dir, pattern)) // only a bad pattern is an error
		for _, path := range leftovers {
			if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}

// close removes everything that is not the published home.
func (h *home) close() error {
	var stop error
	if h.dir != "" {
		stop = h.stopAgent()
	}
	return errors.Join(stop, h.remove())
}

// remove deletes what was made. Parents are removed only as far as they are empty.
func (h *home) remove() error {
	var faults []error
	for _, dir := range []string{h.dir, h.linkDir} {
		if dir != "" {
			faults = append(faults, os.RemoveAll(dir))
		}
	}
	for _, dir := range h.parents {
		if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// syncTree brings all files and directories under root to the disk.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !(entry.IsDir() || entry.Type().IsRegular()) {
			return err
		}
		return syncFile(path)
	})
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
