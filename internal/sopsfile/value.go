package sopsfile

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/stores"
)

// Value is the value of a key; the empty key is the whole file. The package comment says how keys
// are read and values are printed.
func (p *Plain) Value(key string) ([]byte, error) {
	if key == "" {
		return p.whole()
	}
	path, v, err := p.index.find(p.branches, key)
	if err == nil && v == nil {
		err = errNull(key)
	}
	if err != nil {
		return nil, err
	}
	var out []byte
	err = guard(func() (err error) {
		out, err = p.file.print(path, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("key %q: %s cannot be printed as %s", key, kind(v), p.file.format)
	}
	return out, nil
}

// errNull says that a key was left empty, which is no secret: it would become a file with the word
// null.
func errNull(key string) error { return fmt.Errorf("key %q has no value (null)", key) }

func (p *Plain) whole() ([]byte, error) {
	var out []byte
	err := guard(func() (err error) {
		out, err = p.file.store.EmitPlainFile(p.branches)
		return err
	})
	switch {
	case err != nil && p.file.single != "":
		return nil, p.file.errNotSingle()
	case err != nil:
		return nil, fmt.Errorf("its content cannot be printed as %s", p.file.format)
	}
	return out, nil
}

// print prints a value as sops prints it.
func (f *File) print(path []string, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	case sops.TreeBranch:
		if f.sections {
			v = sops.TreeBranch{{Key: path[0], Value: v}}
		}
		return f.store.EmitPlainFile(sops.TreeBranches{v})
	case []any:
		return f.store.EmitValue(v)
	}
	if f.untyped {
		return []byte(stores.ValToString(v)), nil
	}
	out, err := f.store.EmitValue(v)
	return bytes.TrimSuffix(out, []byte("\n")), err
}

// index finds values by name. It remembers the names of every map that it was asked about, by the
// map's first item: a file may have thousands of values, all of which are asked for one after the
// other. It is not safe for concurrent use.
type index map[*sops.TreeItem]map[string]any

// find looks a key up in the documents of a file. It returns the path that led to the value,
// element by element.
func (x index) find(documents sops.TreeBranches, key string) (path []string, value any, err error) {
	elements := strings.Split(key, "/")
	var first *lookupError
	for _, document := range documents {
		path, value, miss := x.walk(document, nil, elements)
		if miss == nil {
			return path, value, nil
		}
		if first == nil || len(miss.at) > len(first.at) {
			first = miss
		}
	}
	if first == nil {
		return nil, nil, fmt.Errorf("key %q: the file is empty", key)
	}
	return nil, nil, fmt.Errorf("key %q: %w", key, first)
}

// lookupError says how far a key led.
type lookupError struct {
	at   []string
	what string
}

func (e *lookupError) Error() string { return e.what }

// walk follows elements from v on. Where a map has no value of that name longer names are tried,
// which contain slashes.
func (x index) walk(v any, at, elements []string) ([]string, any, *lookupError) {
	if len(elements) == 0 {
		return at, v, nil
	}
	switch v := v.(type) {
	case sops.TreeBranch:
		var deepest *lookupError
		for n := 1; n <= len(elements); n++ {
			name := strings.Join(elements[:n], "/")
			child, ok := x.last(v, name)
			if !ok {
				continue
			}
			path, value, miss := x.walk(child, append(slices.Clone(at), name), elements[n:])
			if miss == nil {
				return path, value, nil
			}
			if deepest == nil || len(miss.at) > len(deepest.at) {
				deepest = miss
			}
		}
		if deepest == nil {
			wanted := quoted(append(slices.Clone(at), elements[0]))
			deepest = &lookupError{at, "there is no " + wanted + others(v, elements[0])}
		}
		return nil, nil, deepest
	case []any:
		items := withoutComments(v)
		i, err := strconv.ParseUint(elements[0], 10, 31)
		if err != nil || strconv.FormatUint(i, 10) != elements[0] {
			return nil, nil, &lookupError{at, fmt.Sprintf("%s is a list, whose elements are chosen by number, not by %q", quoted(at), elements[0])}
		}
		if i >= uint64(len(items)) {
			return nil, nil, &lookupError{at, fmt.Sprintf("%s is a list of %d, counted from 0", quoted(at), len(items))}
		}
		return x.walk(items[i], append(slices.Clone(at), elements[0]), elements[1:])
	}
	return nil, nil, &lookupError{at, fmt.Sprintf("%s is %s, not a map", quoted(at), kind(v))}
}

// others names the values that are in a map in place of the wanted one, most alike first: nearly
// always the name is a mistyped one of them. Names of values are not secret in sops.
func others(branch sops.TreeBranch, wanted string) string {
	var names []string
	for _, item := range branch {
		if name, ok := item.Key.(string); ok && name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	alike := func(name string) (n int) {
		for n < min(len(name), len(wanted)) && name[n] == wanted[n] {
			n++
		}
		return n
	}
	slices.SortStableFunc(names, func(a, b string) int { return alike(b) - alike(a) })
	const most = 8
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return " (it has: " + strings.Join(names, ", ") + ")"
}

func quoted(path []string) string { return strconv.Quote(strings.Join(path, "/")) }

// last finds the last value of a name in a map.
func (x index) last(branch sops.TreeBranch, name string) (any, bool) {
	if len(branch) == 0 {
		return nil, false
	}
	values, known := x[&branch[0]]
	if !known {
		values = make(map[string]any, len(branch))
		for _, item := range branch {
			if key, ok := item.Key.(string); ok {
				values[key] = item.Value
			}
		}
		x[&branch[0]] = values
	}
	value, ok := values[name]
	return value, ok
}

func withoutComments(list []any) []any {
	items := make([]any, 0, len(list))
	for _, v := range list {
		if _, ok := v.(sops.Comment); !ok {
			items = append(items, v)
		}
	}
	return items
}

// kind names what a value is, for messages.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string, []byte:
		return "a string"
	case bool:
		return "a boolean"
	case int, float64:
		return "a number"
	case sops.TreeBranch:
		return "a map"
	case []any:
		return "a list"
	}
	return "a value of another kind"
}
