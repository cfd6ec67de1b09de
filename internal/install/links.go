package install

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/generation"
	"github.com/sops-initrd/sops-initrd/internal/units"
)

// target is the path of an item below the secrets directory, which stays the same over generations.
func (p *plan) target(it *item) string { return path.Join(p.manifest.SymlinkPath, it.file) }

// wantsLink says whether the user expects an item at another path than its target.
func (p *plan) wantsLink(it *item) bool {
	return it.place.Path != "" && it.place.Path != p.target(it) && it.linkErr == nil
}

// linkIsInside says whether an item's link belongs into the generation itself.
func (p *plan) linkIsInside(it *item) bool {
	return p.wantsLink(it) && below(p.manifest.SymlinkPath, it.place.Path)
}

// linkIsOutside says whether an item gets a link outside the generation.
func (p *plan) linkIsOutside(it *item) bool {
	return p.wantsLink(it) && !p.linkIsInside(it) && it.state != Failed
}

func below(dir, name string) bool { return strings.HasPrefix(name, dir+"/") }

// Limits of Linux: NAME_MAX, and PATH_MAX without its NUL byte.
const (
	maxNameBytes = 255
	maxPathBytes = 4095
)

// tooLong says why a file cannot have this path.
func tooLong(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxNameBytes {
			return fmt.Errorf("the name %.20q... has %d bytes, more than the %d that a file name can have",
				part, len(part), maxNameBytes)
		}
	}
	if len(name) > maxPathBytes {
		return fmt.Errorf("the path has %d bytes, more than the %d that a path can have", len(name), maxPathBytes)
	}
	return nil
}

// otherPlaces are the mount points and links of the module's manifests. Each manifest must leave
// those of the others alone.
var otherPlaces = [][2]string{
	{"/run/secrets.d", "/run/secrets"},
	{"/run/secrets-for-users.d", "/run/secrets-for-users"},
}

// places is what is known about the paths of a plan.
type places struct {
	// files has, by path, the item that is there.
	files map[string]*item
	// dirs has, by path, an item that is somewhere below.
	dirs map[string]*item
	// reserved are the paths that this program and NixOS use.
	reserved map[string]string
	// above has, by path, something reserved that is somewhere below.
	above map[string]string
}

func (s *places) take(name string, it *item) {
	s.files[name] = it
	for dir := path.Dir(name); dir != "/" && s.dirs[dir] == nil; dir = path.Dir(dir) {
		s.dirs[dir] = it
	}
}

func (s *places) reserve(name, what string) {
	s.reserved[name] = what
	for dir := path.Dir(name); dir != "/" && s.above[dir] == ""; dir = path.Dir(dir) {
		s.above[dir] = name
	}
}

// checkPlaces finds names and paths that cannot be, and links that would be in the way of
// something else. Such links are not made; the secrets themselves are installed.
func (p *plan) checkPlaces() {
	s := &places{map[string]*item{}, map[string]*item{}, map[string]string{}, map[string]string{}}
	own := [2]string{p.manifest.SecretsMountPoint, p.manifest.SymlinkPath}
	for _, pair := range slices.Concat([][2]string{own}, otherPlaces) {
		for _, place := range generation.Reserved(pair[0], pair[1]) {
			s.reserve(place.Path, place.What)
		}
	}
	for _, list := range units.Lists {
		s.reserve(path.Join("/run/nixos", list), "a list of NixOS's")
	}
	for _, it := range p.items {
		s.take(p.target(it), it)
		if err := tooLong(p.target(it)); err != nil {
			p.fail(it, err)
		}
	}
	for _, it := range p.items {
		if !p.wantsLink(it) {
			continue
		}
		if err := p.obstacle(it.place.Path, s); err != nil {
			it.linkErr = fmt.Errorf("%s: link %s: %w", it, it.place.Path, err)
			p.fault(it.linkErr)
			continue
		}
		s.take(it.place.Path, it)
	}
}

// obstacle says what speaks against a link at name.
func (p *plan) obstacle(name string, s *places) error {
	if err := tooLong(name); err != nil {
		return err
	}
	if what := s.reserved[name]; what != "" {
		return fmt.Errorf("it is the place of %s", what)
	}
	if other := s.above[name]; other != "" {
		return fmt.Errorf("it is in the way of %s", other)
	}
	if other := s.files[name]; other != nil {
		return fmt.Errorf("it is the path of %s, too", other)
	}
	inside := below(p.manifest.SymlinkPath, name)
	if other := s.dirs[name]; other != nil && inside {
		return fmt.Errorf("it is in the way of %s", other)
	}
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if other := s.files[dir]; other != nil && inside {
			return fmt.Errorf("it is in the way of %s", other)
		}
		if generation.IsReserved(dir, name) && s.reserved[dir] == generation.MountPoint {
			return errors.New("it is the place of a generation")
		}
	}
	return nil
}

// placeLinks makes the links to items that are wanted elsewhere. One that cannot be made does not
// touch the others.
func (p *plan) placeLinks(store *generation.Store) error {
	var errs []error
	for _, it := range p.items {
		if !p.linkIsOutside(it) {
			continue
		}
		uid, gid := it.uid, it.gid
		if it.state == Kept {
			uid, gid = it.old.UID, it.old.GID
		}
		if err := store.PlaceLink(it.place.Path, p.target(it), uid, gid); err != nil {
			it.linkErr = fmt.Errorf("%s: link %s: %w", it, it.place.Path, err)
			errs = append(errs, it.linkErr)
		}
	}
	return errors.Join(errs...)
}

// links are the paths of all links outside the generation that the plan makes, and stale those
// that earlier generations made for what is not in the manifest any more.
func (p *plan) links() (links, stale []string) {
	wanted := make(map[string]bool)
	for _, it := range p.items {
		wanted[it.place.Path] = true
		if p.linkIsOutside(it) {
			links = append(links, it.place.Path)
		}
	}
	stale = slices.Concat(p.note.Links, p.note.StaleLinks)
	stale = slices.DeleteFunc(stale, func(name string) bool { return wanted[name] })
	slices.Sort(stale)
	return links, slices.Compact(stale)
}

// removeLinks removes links that are stale, as far as they still are ours, and returns those that
// it could not remove.
func (p *plan) removeLinks(store *generation.Store) (left []string, err error) {
	_, stale := p.links()
	var errs []error
	for _, name := range stale {
		if err := store.RemoveLink(name); err != nil {
			left = append(left, name)
			errs = append(errs, fmt.Errorf("remove the link of what is not in the manifest any more: %w", err))
		}
	}
	return left, errors.Join(errs...)
}
