package generation

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Draft is a generation that is being written.
type Draft struct {
	store *Store
	tree  tree
	made  map[string]bool // directories
	// Number is what the generation will be called.
	Number uint64
}

// Begin starts a generation. The store must be mounted.
func (s *Store) Begin() (*Draft, error) {
	number, err := s.nextNumber()
	if err != nil {
		return nil, err
	}
	if err := s.tree.mkdir(stagingName); err != nil {
		return nil, err
	}
	root, err := s.tree.root.OpenRoot(stagingName)
	if err != nil {
		return nil, s.tree.fault("open", stagingName, err)
	}
	return &Draft{store: s, tree: s.within(root), made: map[string]bool{".": true}, Number: number}, nil
}

// nextNumber is one more than the number of the live generation. Where there is none it is one
// more than the highest.
func (s *Store) nextNumber() (uint64, error) {
	number := numberBehind(s.MountPoint, s.Link)
	if number == 0 {
		numbers, err := s.numbers()
		if err != nil {
			return 0, err
		}
		for _, n := range numbers {
			number = max(number, n)
		}
	}
	for number++; s.UserMode && s.isStranger(number); number++ {
	}
	return number, nil
}

// isStranger says whether the name of a generation is taken by something that is not known to be
// one.
func (s *Store) isStranger(n uint64) bool {
	_, err := s.tree.root.Lstat(strconv.FormatUint(n, 10))
	return err == nil && !s.madeHere(s.tree, n)
}

// Write adds a file. Directories on the way are made.
func (d *Draft) Write(name string, f File) error {
	if err := d.parents(name); err != nil {
		return err
	}
	return d.tree.write(name, f)
}

// Symlink adds a symbolic link.
func (d *Draft) Symlink(target, name string, uid, gid uint32) error {
	if err := d.parents(name); err != nil {
		return err
	}
	if err := d.tree.step("symlink", name); err != nil {
		return err
	}
	if err := d.tree.root.Symlink(target, name); err != nil {
		return d.tree.fault("symlink", name, err)
	}
	if !d.tree.owners {
		return nil
	}
	if err := d.tree.step("chown", name); err != nil {
		return err
	}
	link, err := d.tree.root.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return d.tree.fault("open", name, err)
	}
	return errors.Join(d.tree.fault("chown", name, d.store.Machine.Chown(link, uid, gid)), link.Close())
}

func (d *Draft) parents(name string) error {
	dir := path.Dir(name)
	if d.made[dir] {
		return nil
	}
	if err := d.parents(dir); err != nil {
		return err
	}
	if err := d.tree.mkdir(dir); err != nil {
		return err
	}
	if err := d.tree.openUp(dir); err != nil {
		return err
	}
	d.made[dir] = true
	return nil
}

// Publish makes the generation the live one. After an error the old one is live and untouched.
// The note is kept with the generation for those who come later.
func (d *Draft) Publish(note []byte) error {
	s, number := d.store, strconv.FormatUint(d.Number, 10)
	defer d.tree.root.Close()
	if err := d.tree.openUp("."); err != nil {
		return err
	}
	// Left by a run that was interrupted before it changed the link.
	if err := s.tree.remove(number); err != nil {
		return err
	}
	if err := s.Annotate(d.Number, note); err != nil {
		return err
	}
	if err := s.tree.rename(stagingName, number); err != nil {
		return err
	}
	if err := s.swap(filepath.Join(s.MountPoint, number)); err != nil {
		err = fmt.Errorf("make generation %d the live one: %w", d.Number, err)
		return errors.Join(err, s.tree.remove(number))
	}
	s.published = d.Number
	return nil
}

// Annotate replaces the note of a generation, as a whole.
func (s *Store) Annotate(number uint64, note []byte) error {
	name := noteName(number)
	temp := name + tempSuffix
	if err := s.tree.remove(temp); err != nil {
		return err
	}
	if err := s.tree.write(temp, File{Data: note, Mode: 0o600}); err != nil {
		return err
	}
	return s.tree.rename(temp, name)
}

// Discard removes the unfinished generation.
func (d *Draft) Discard() error {
	return errors.Join(d.tree.root.Close(), d.store.tree.remove(stagingName))
}
