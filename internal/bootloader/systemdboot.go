package bootloader

import (
	"errors"
	"strings"
)

var errFetched = errors.New("its image is fetched at boot, so what is in it cannot be known")

// systemdBoot is systemd-boot, and every other loader with entries of the Boot Loader
// Specification.
func systemdBoot() loader {
	return loader{
		kind:  SystemdBoot,
		form:  "loader/entries/*.conf of the Boot Loader Specification",
		files: []string{"loader/entries/*.conf"},
		read: lines(func(p *parser, n int, word, rest, _ string) {
			p.open()
			switch strings.ToLower(word) {
			case "title":
				p.current.Title = rest
			case "version":
				p.current.Title = strings.TrimSpace(p.current.Title + " " + rest)
			case "options":
				p.options(rest)
			case "uki":
				p.unified(rest)
			case "uki-url":
				p.menu.Odd = append(p.menu.Odd, Odd{p.menu.dir.host(p.file), errFetched})
			case "initrd": // microcode, for example, has a line of its own before the last
				p.current.line = unchangeable
				list := names(rest)
				for _, name := range list {
					p.initrd(n, name)
				}
				if len(list) == 1 {
					p.current.line = n
				}
			}
		}),
		chosen: chosenFile,
		name:   fromTop,
		rename: lastWord,
		finish: ownImages,
	}
}
