package bootmenu

import (
	"path"
	"strings"
)

// parser collects the entries of one file, line by line.
type parser struct {
	menu    *Menu
	file    string
	entries []Entry
	current *Entry
}

func (p *parser) take(n int, line string) {
	word, rest := cut(line)
	switch p.menu.Kind {
	case SystemdBoot:
		p.open()
		p.field(n, strings.ToLower(word), rest, map[string]string{"title": "title", "initrd": "initrd", "options": "options"})
		if word == "version" {
			p.current.Title = strings.TrimSpace(p.current.Title + " " + rest)
		}
	case Extlinux:
		if strings.EqualFold(word, "label") {
			p.finish()
			p.open()
			p.current.Title = rest
			return
		}
		p.field(n, strings.ToLower(word), rest, map[string]string{"initrd": "initrd", "append": "options"})
	case REFInd:
		if word == "menuentry" || word == "submenuentry" {
			p.finish()
			p.open()
			p.current.Title = strings.Trim(strings.TrimSuffix(rest, "{"), `" `)
			return
		}
		p.field(n, word, rest, map[string]string{"initrd": "initrd", "options": "options"})
	case GRUB:
		if word == "menuentry" {
			p.finish()
			p.open()
			p.current.Title = quoted(rest)
			return
		}
		if word == "module" && initOf().MatchString(rest) { // below Xen the kernel is the first module
			word = "linux"
		}
		p.field(n, word, rest, map[string]string{"linux": "options", "initrd": "initrd", "module": "initrd"})
	case Limine:
		if strings.HasPrefix(word, "/") {
			p.finish()
			p.open()
			p.current.Title = strings.TrimLeft(strings.TrimSpace(line), "/+")
			return
		}
		p.field(n, word, rest, map[string]string{"cmdline:": "options", "module_path:": "initrd"})
	case EFIStub:
		p.open()
		p.field(n, "options", line, map[string]string{"options": "options"})
		for _, m := range initrdParameter().FindAllStringSubmatch(line, -1) {
			p.initrds(n, m[2])
		}
		p.current.Title = strings.TrimSuffix(path.Base(p.file), "-startup.nsh")
	case Lanzaboote, RaspberryPi, Listed: // are read otherwise
	}
}

// open begins an entry, if none is open.
func (p *parser) open() {
	if p.current == nil {
		p.current = &Entry{file: p.file, line: -1}
	}
}

// field takes a line of an entry; names says what a word means.
func (p *parser) field(n int, word, rest string, names map[string]string) {
	if p.current == nil {
		return
	}
	switch names[word] {
	case "title":
		p.current.Title = rest
	case "options":
		if m := initOf().FindStringSubmatch(rest); m != nil {
			p.current.Toplevel = m[1]
		}
	case "initrd":
		p.initrds(n, rest)
	}
}

func (p *parser) initrds(n int, rest string) {
	for _, name := range strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		switch p.menu.Kind {
		case GRUB: // ($drive1)//kernels/…
			if strings.HasPrefix(name, "(") {
				_, name, _ = strings.Cut(name, ")")
			}
		case Limine: // boot():/limine/kernels/…#hash
			_, name, _ = strings.Cut(name, ":")
			name, _, _ = strings.Cut(name, "#")
		case SystemdBoot, Extlinux, REFInd, Lanzaboote, RaspberryPi, EFIStub, Listed: // as it is
		}
		p.current.Initrds = append(p.current.Initrds, p.menu.host(p.file, name))
	}
	rewritable := p.menu.Kind == SystemdBoot || p.menu.Kind == Extlinux || p.menu.Kind == REFInd || p.menu.Kind == EFIStub
	switch {
	case p.menu.Kind == SystemdBoot && !strings.ContainsAny(rest, " \t,"):
		p.current.line = n // of the last; those before it, such as microcode, have lines of their own
	case rewritable && len(p.current.Initrds) == 1:
		p.current.line = n
	default:
		p.current.line = -1
	}
}

// finish ends an entry; those that start no NixOS system are left out.
func (p *parser) finish() {
	if p.current != nil && p.current.Toplevel != "" {
		p.entries = append(p.entries, *p.current)
	}
	p.current = nil
}

func cut(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], strings.TrimSpace(line[i:])
	}
	return line, ""
}

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
