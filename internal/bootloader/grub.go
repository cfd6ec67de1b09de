package bootloader

import "strings"

// grub is GRUB 2. Its installer (nixpkgs, install-grub.pl) calls every system's appender itself.
func grub() loader {
	return loader{
		kind:    GRUB,
		nothing: installsItself,
		files:   []string{"grub/grub.cfg"},
		chosen:  chosenNumber, // the first; of others submenus would have to be counted
		read: lines(func(p *parser, n int, word, rest, _ string) {
			value, ok := strings.CutPrefix(rest, "default=")
			if ok && word == "set" && strings.Trim(value, `"'`) == "0" {
				p.menu.preferred = "0"
			}
			if word == "menuentry" {
				p.begin(quoted(rest))
				return
			}
			if word == "module" && initOf().MatchString(rest) { // with Xen the kernel is the first module
				word = "linux"
			}
			switch word {
			case "linux":
				p.options(rest)
			case "initrd", "module":
				for _, name := range names(rest) { // ($drive1)//kernels/…
					if strings.HasPrefix(name, "(") {
						_, name, _ = strings.Cut(name, ")")
					}
					p.initrd(n, name)
				}
			}
		}),
	}
}

// installsItself is why there is nothing to do for loaders that call appenders.
const installsItself = "its installer installs initrd secrets itself"

// quoted is what stands between the first quotes.
func quoted(text string) string {
	for _, q := range []string{`"`, "'"} {
		if rest, ok := strings.CutPrefix(text, q); ok {
			title, _, _ := strings.Cut(rest, q)
			return title
		}
	}
	return text
}
