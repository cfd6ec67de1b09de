package template

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	t.Parallel()
	hash := func(c string) string { return "<SOPS:" + strings.Repeat(c, 64) + ":PLACEHOLDER>" }
	for _, c := range []struct {
		name, text   string
		placeholders map[string]string // by name; the value of a secret is its name in brackets
		want         string
		uses         string
		unknown      string
	}{
		{"nothing", "", map[string]string{"a": "@a@"}, "", "[]", "[]"},
		{"no placeholder", "text", map[string]string{"a": "@a@"}, "text", "[]", "[]"},
		{"no placeholders at all", "@a@", nil, "@a@", "[]", "[]"},
		{"alone", "@a@", map[string]string{"a": "@a@"}, "[a]", "[a]", "[]"},
		{
			"several", "x@a@y@b@@a@z",
			map[string]string{"a": "@a@", "b": "@b@", "c": "@c@"},
			"x[a]y[b][a]z", "[a b]", "[]",
		},
		{
			"the longer one at the same place", "ab",
			map[string]string{"short": "a", "long": "ab"},
			"[long]", "[long]", "[]",
		},
		{"the first one, though a longer one overlaps", "abc", map[string]string{
			"first":  "ab",
			"second": "bcd",
		}, "[first]c", "[first]", "[]"},
		{
			"after a beginning that leads nowhere", "@@a@",
			map[string]string{"a": "@a@"},
			"@[a]", "[a]",
			"[]",
		},
		{"empty placeholder", "x", map[string]string{"a": ""}, "x", "[]", "[]"},
		{"two names for one", "@", map[string]string{"b": "@", "a": "@"}, "[a]", "[a]", "[]"},
		{"cut at the end", "x@a", map[string]string{"a": "@a@"}, "x@a", "[]", "[]"},
		{
			"of the module", "k=" + hash("0") + "\n",
			map[string]string{"a": hash("0")},
			"k=[a]\n", "[a]",
			"[]",
		},
		{
			"unknown ones of the module", hash("1") + hash("0") + hash("2") + hash("1"),
			map[string]string{"a": hash("0")},
			hash("1") + "[a]" + hash("2") +
				hash("1"), "[a]", fmt.Sprint([]string{hash("1"), hash("2")}),
		},
		{"not quite of the module", "<SOPS:00:PLACEHOLDER>", nil, "<SOPS:00:PLACEHOLDER>", "[]", "[]"},
		{
			"bytes that are no text", "\xff@a@\x00",
			map[string]string{"a": "@a@"},
			"\xff[a]\x00", "[a]",
			"[]",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set := New(c.placeholders)
			if got := string(set.Render(c.text, func(name string) []byte {
				return []byte("[" + name +
					"]")
			})); got != c.want {
				t.Errorf("rendered %q, want %q", got, c.want)
			}
			uses, unknown := set.Uses(c.text)
			if fmt.Sprint(uses) != c.uses || fmt.Sprint(unknown) != c.unknown {
				t.Errorf("uses %v, unknown %v; want %s, %s", uses, unknown, c.uses, c.unknown)
			}
		})
	}
}

// What a placeholder was replaced by is not looked at again.
func TestRender_once(t *testing.T) {
	t.Parallel()
	set := New(map[string]string{"a": "@a@", "b": "@b@"})
	values := map[string]string{"a": "@b@@", "b": "a@@a@"}
	if got := string(set.Render("@a@@b@",
		func(name string) []byte { return []byte(values[name]) })); got != "@b@@a@@a@" {
		t.Errorf("%q", got)
	}
}

// Where no placeholder contains the beginning of another one, rendering is what replacing one
// after the other does with values that have none of their bytes; and it reads every byte of
// the text once.
func FuzzRender(f *testing.F) {
	f.Add("x@a@y", "@a@", "#b#", "v1", "v2")
	f.Add("@a@#b##b#@a", "@a@", "#b#", "", "#b#")
	f.Add("<<>", "<", "<<", "a", "b")
	f.Fuzz(func(t *testing.T, text, a, b, valueA, valueB string) {
		set := New(map[string]string{"a": a, "b": b})
		values := map[string][]byte{"a": []byte(valueA), "b": []byte(valueB)}
		got := set.Render(text, func(name string) []byte { return values[name] })
		uses, _ := set.Uses(text)
		if len(uses) == 0 && string(got) != text {
			t.Errorf("%q became %q without a placeholder", text, got)
		}
		if a != "" && b != "" && a[0] != b[0] && !strings.Contains(a, b[:1]) && !strings.Contains(b,
			a[:1]) {
			want := strings.NewReplacer(a, valueA, b, valueB).Replace(text)
			if !bytes.Equal(got, []byte(want)) {
				t.Errorf("%q became %q, want %q", text, got, want)
			}
		}
	})
}
