package install

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"github.com/sops-initrd/sops-initrd/internal/generation"
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

func below(dir, name string) bool { return strings.HasPrefix(name, dir+"/") }

// checkPaths finds links that would be in the way of something else. They are not made; the secrets themselves are
// installed.
func (p *plan) checkPaths() {
	taken := make(map[string]*item)
	for _, it := range p.items {
		taken[p.target(it)] = it
	}
	for _, it := range p.items {
		if !p.wantsLink(it) {
			continue
		}
		if err := p.obstacle(it.place.Path, taken); err != nil {
			it.linkErr = fmt.Errorf("%s: link %s: %w", it, it.place.Path, err)
			p.fault(it.linkErr)
			continue
		}
		taken[it.place.Path] = it
	}
}

// obstacle says what speaks against a link at name.
func (p *plan) obstacle(name string, taken map[string]*item) error {
	if other := taken[name]; other != nil {
		return fmt.Errorf("it is the path of %s, too", other)
	}
	for _, dir := range []string{p.manifest.SymlinkPath, p.manifest.SecretsMountPoint} {
		if name == dir || below(name, dir) {
			return fmt.Errorf("it is in the way of %s", dir)
		}
	}
	if rest, ok := strings.CutPrefix(name, p.manifest.SecretsMountPoint+"/"); ok && (rest[0] == '.' || unicode.IsDigit(rune(rest[0]))) {
		return errors.New("it is the place of a generation")
	}
	for other, it := range taken {
		if below(p.manifest.SymlinkPath, name) && (below(name, other) || below(other, name)) {
			return fmt.Errorf("it is in the way of %s", it)
		}
	}
	return nil
}

// placeLinks makes the links to items that are wanted elsewhere. One that cannot be made does not touch the others.
func (p *plan) placeLinks(store *generation.Store) error {
	var errs []error
	for _, it := range p.items {
		if it.state == Failed || !p.wantsLink(it) || p.linkIsInside(it) {
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
