package template

import (
	"maps"
	"slices"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// form is that of the placeholders that the NixOS module writes.
var form = pattern.New(`^<SOPS:[0-9a-f]{64}:PLACEHOLDER>`)

// Set is a set of placeholders.
type Set struct {
	names   map[string]string // by placeholder
	lengths []int             // of the placeholders, longest first
	first   [256]bool         // bytes that a placeholder begins with
}

// New makes a set of the placeholders that stand for secrets, by the names of the secrets. An
// empty placeholder stands nowhere; of two equal ones the one whose name sorts first counts.
func New(placeholders map[string]string) *Set {
	s := &Set{names: make(map[string]string, len(placeholders))}
	for _, name := range slices.Sorted(maps.Keys(placeholders)) {
		text := placeholders[name]
		if _, taken := s.names[text]; taken || text == "" {
			continue
		}
		s.names[text] = name
		s.first[text[0]] = true
		s.lengths = append(s.lengths, len(text))
	}
	slices.Sort(s.lengths)
	s.lengths = slices.Compact(s.lengths)
	slices.Reverse(s.lengths)
	return s
}

// Uses says which secrets a text needs, by name, sorted; and which parts of it look like a
// placeholder of the NixOS module but are none of the set.
func (s *Set) Uses(text string) (names, unknown []string) {
	s.scan(text, func(literal string) {
		for i := range len(literal) {
			if literal[i] == '<' {
				if found := form().FindString(literal[i:]); found != "" {
					unknown = append(unknown, found)
				}
			}
		}
	}, func(name string) { names = append(names, name) })
	slices.Sort(names)
	slices.Sort(unknown)
	return slices.Compact(names), slices.Compact(unknown)
}

// Render replaces every placeholder of a text by the value that belongs to the name of its secret.
func (s *Set) Render(text string, value func(name string) []byte) []byte {
	out := make([]byte, 0, len(text))
	s.scan(text, func(literal string) { out = append(out, literal...) },
		func(name string) { out = append(out, value(name)...) })
	return out
}

// scan takes a text apart, from left to right.
func (s *Set) scan(text string, literal, placeholder func(string)) {
	begin := 0
	for i := 0; i < len(text); {
		n, name := s.at(text[i:])
		if n == 0 {
			i++
			continue
		}
		if begin < i {
			literal(text[begin:i])
		}
		placeholder(name)
		i += n
		begin = i
	}
	if begin < len(text) {
		literal(text[begin:])
	}
}

// at finds the placeholder that a text begins with.
func (s *Set) at(text string) (length int, name string) {
	if !s.first[text[0]] {
		return 0, ""
	}
	for _, n := range s.lengths {
		if n > len(text) {
			continue
		}
		if name, ok := s.names[text[:n]]; ok {
			return n, name
		}
	}
	return 0, ""
}
