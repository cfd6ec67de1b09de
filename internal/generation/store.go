package generation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// Names inside the mount point beside the numbers.
const (
	stagingName = ".new" + tempSuffix
	notePrefix  = "."
	noteSuffix  = ".json"
)

func noteName(number uint64) string {
	return notePrefix + strconv.FormatUint(number, 10) + noteSuffix
}

// Config says where the generations of a manifest are.
type Config struct {
	MountPoint string // absolute, clean
	Link       string // absolute, clean
	// Tmpfs takes a tmpfs instead of a ramfs.
	Tmpfs bool
	// UserMode takes an ordinary directory instead of a file system of its own, and leaves
	// everything to its owner.
	UserMode bool
	// Group is the group of all directories.
	Group uint32
	// Stage1 says that a directory in the place of Link is what stage 1 of the boot left there,
	// with secrets of the initrd in it.
	Stage1  bool
	Machine Machine
}

// Store is the secrets file system, locked for this run.
type Store struct {
	Config
	lock *atomicfile.Lock
	tree tree
	// current is the generation that was live when the store was opened.
	current *Generation
	// covered is the file system that was at the mount point until another one was mounted over it.
	covered *os.Root
	// published is the number that Publish made live.
	published uint64
}

// Lock waits until no other run works on the same mount point. While it has to wait it calls
// waiting once. Nothing but the lock file is made.
func Lock(ctx context.Context, c Config, waiting func()) (*Store, error) {
	if err := hostfile.MkdirAll(filepath.Dir(c.MountPoint)); err != nil {
		return nil, err
	}
	lock, err := atomicfile.LockFile(ctx, lockName(c.MountPoint), waiting)
	if err != nil {
		return nil, err
	}
	return &Store{Config: c, lock: lock}, nil
}

// Current is the generation that is live, nil if there is none.
func (s *Store) Current() (*Generation, error) {
	var err error
	if s.current == nil {
		s.current, err = Current(s.MountPoint, s.Link)
	}
	return s.current, err
}

// Mount makes sure that the secrets file system is there, and removes what an interrupted run
// left in it. A file system of the wrong type is covered by a new one that has the live
// generation, too, so that it can be read all the time.
func (s *Store) Mount() error {
	current, err := s.Current()
	if err != nil {
		return err
	}
	if err := s.mkdirMountPoint(); err != nil {
		return err
	}
	before, err := os.OpenRoot(s.MountPoint)
	if err != nil {
		return err
	}
	if !s.UserMode {
		if err := s.Machine.Step("mount", s.MountPoint); err != nil {
			return errors.Join(fmt.Errorf("mount %s: %w", s.MountPoint, err), before.Close())
		}
		err := s.Machine.Mount(s.MountPoint, s.Tmpfs, func(root *os.Root) error {
			s.covered = before
			return s.within(root).copyGeneration(current)
		})
		if err != nil {
			return errors.Join(err, before.Close())
		}
	}
	if s.covered == nil {
		if err := before.Close(); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(s.MountPoint)
	if err != nil {
		return err
	}
	s.tree = s.within(root)
	if err := s.tree.openUp("."); err != nil {
		return err
	}
	return s.tree.remove(stagingName)
}

func (s *Store) mkdirMountPoint() error {
	err := os.Mkdir(s.MountPoint, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (s *Store) within(root *os.Root) tree {
	return tree{root: root, machine: s.Machine, group: s.Group, owners: !s.UserMode}
}

// copyGeneration copies a generation into the tree under its own number. Of a directory without a
// number there is nothing to copy: it does not lie in the secrets file system.
func (t tree) copyGeneration(g *Generation) error {
	if g == nil || g.Number == 0 {
		return nil
	}
	number := strconv.FormatUint(g.Number, 10)
	return fs.WalkDir(g.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(number, name)
		switch {
		case entry.IsDir():
			return errors.Join(t.mkdir(to), t.openUp(to))
		case entry.Type().IsRegular():
			f, err := g.Read(name)
			if err != nil {
				return err
			}
			return t.write(to, f)
		case entry.Type() == fs.ModeSymlink:
			target, err := g.root.Readlink(name)
			if err != nil {
				return err
			}
			return t.root.Symlink(target, to)
		}
		return nil
	})
}

// Close gives the lock back.
func (s *Store) Close() error {
	errs := []error{s.current.Close()}
	if s.covered != nil {
		errs = append(errs, s.covered.Close())
	}
	if s.tree.root != nil {
		errs = append(errs, s.tree.root.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
