package bootloader

import (
	"path/filepath"
	"strings"
)

// extlinux is generic-extlinux-compatible of NixOS, whose menu U-Boot reads, too.
func extlinux() loader {
	return loader{
		kind:  Extlinux,
		form:  "extlinux/extlinux.conf, also of U-Boot",
		files: []string{"extlinux/extlinux.conf"},
		read: lines(func(p *parser, n int, word, rest, _ string) {
			switch strings.ToLower(word) {
			case "default":
				p.menu.preferred = rest
			case "label":
				p.begin(rest)
			case "append":
				p.options(rest)
			case "initrd":
				for _, name := range names(rest) {
					p.initrd(n, name)
				}
			}
		}),
		chosen: chosenTitle,
		// The stock installer names files relative to the menu.
		name: func(_ *Menu, file, initrd string) string {
			rel, err := filepath.Rel(filepath.Dir(file), initrd)
			if err != nil { // both are relative, so there is always a way
				return initrd
			}
			return rel
		},
		rename: lastWord,
		finish: ownImages,
	}
}
