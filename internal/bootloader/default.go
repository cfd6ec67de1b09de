package bootloader

import (
	"path"
	"strconv"
	"strings"
)

// chosenTitle marks the entry with the title that the menu prefers.
func chosenTitle(m *Menu) {
	for i, e := range m.Entries {
		m.Entries[i].Default = e.Title == m.preferred
	}
}

// chosenFile marks the entry that loader.conf of systemd-boot names: a pattern of file names, of
// which the newest counts.
func chosenFile(m *Menu) {
	f, err := m.dir.open("loader/loader.conf")
	if err != nil {
		return
	}
	text, err := readText(f)
	if f.Close() != nil || err != nil {
		return
	}
	pattern := ""
	for line := range strings.SplitSeq(text, "\n") {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "default" {
			pattern = strings.ToLower(fields[1])
		}
	}
	best := -1
	for i, e := range m.Entries {
		name := strings.ToLower(path.Base(e.file))
		whole, err := path.Match(pattern, name)
		stem, _ := path.Match(pattern, strings.TrimSuffix(name, path.Ext(name)))
		if err != nil || !whole && !stem {
			continue
		}
		if best < 0 || olderName(path.Base(m.Entries[best].file), name) {
			best = i
		}
	}
	if best >= 0 {
		m.Entries[best].Default = true
	}
}

// olderName compares names of which the numbers count as numbers.
func olderName(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x != "" && y != "" {
			m, errA := strconv.ParseUint(x, 10, 64)
			n, errB := strconv.ParseUint(y, 10, 64)
			if errA == nil && errB == nil && m != n {
				return m < n
			}
			a, b = a[len(x):], b[len(y):]
			continue
		}
		if a[0] != b[0] {
			return a[0] < b[0]
		}
		a, b = a[1:], b[1:]
	}
	return len(a) < len(b)
}

func digits(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
}

// chosenNumber marks the entry of which the menu gives the number.
func chosenNumber(m *Menu) {
	for i, e := range m.Entries {
		m.Entries[i].Default = m.preferred != "" && strconv.Itoa(e.number) == m.preferred
	}
}
