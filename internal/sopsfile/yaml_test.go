package sopsfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// inGo writes a tree with all its types; other than with reflect.DeepEqual, NaN is NaN.
func inGo(v any) string { return fmt.Sprintf("%#v", v) }

// sameAsStore reads YAML in both ways and says whether the short one was taken. Where it is, sops
// reads the file, too, and to the same values.
func sameAsStore(t *testing.T, data []byte) (short bool) {
	t.Helper()
	branch, short := plainOf(data)
	store := storeOf(manifest.YAML)
	if short {
		want, err := store.LoadPlainFile(data)
		if err != nil || len(want) != 1 || inGo(want[0]) != inGo(branch) {
			t.Errorf("%.500q\nis %#v\nbut for sops %#v, %v", data, branch, want, err)
		}
	}
	got, gotErr := loadYAML(data, store)
	want, err := store.LoadEncryptedFile(data)
	if (gotErr == nil) != (err == nil) || inGo(got.Branches) != inGo(want.Branches) || !reflect.DeepEqual(got.Metadata, want.Metadata) {
		t.Errorf("%.500q\nis %#v, %v\nbut for sops %#v, %v", data, got, gotErr, want, err)
	}
	return short
}

// What sops writes is read in the short way, what is special is left to sops, and both read the
// same.
func TestLoadYAML_agreesWithSOPS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		short bool
	}{
		{"a: b\n", true},
		{"a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nb: {c: [], d: {}}\n", true},
		{"a: 1\nb: 0x1f\nc: 0o17\nd: 1_000\ne: 12345678901234567890\n", true},
		{"a: 1.5\nb: .inf\nc: -.INF\nd: .nan_\ne: 1e400\nf: .nan\n", true},
		{"a: true\nb: no\nc: ~\nd:\ne: null\nf: Null\ng: YES\n", true},
		{"a: 'x'\nb: \"y\\n\\u263a\"\nc: |\n  d\n  e\nf: >-\n  g\n  h\n", true},
		{"a: '1'\nb: \"true\"\nc: ''\n'1': x\n\"null\": x\n", true},
		{"a: [1, [b, {c: d}], null]\n", true},
		{"---\na: b\n", true},
		{"---\na: b\n...\n", true},
		{"\ufeffa: b\n", true},
		{"a: b\r\nc: |\r\n  d\r\n", true},
		{"a: ! b\n", true},
		{"# comment\na: b\n", false},
		{"a: b # comment\n", false},
		{"a:\n  - b\n  # comment\n", false},
		{"a: b\na: c\n", false},
		{"a: {b: c, b: d}\n", false},
		{"a: &x b\nc: *x\n", false},
		{"a: &x {b: c}\nd:\n  <<: *x\n", false},
		{"<<: {a: b}\n", false},
		{"1: b\n", false},
		{"null: b\n", false},
		{"? [a]\n: b\n", false},
		{"? {a: b}\n: c\n", false},
		{"a: !!str 1\n", false},
		{"a: !!int x\n", false},
		{"a: !custom x\n", false},
		{"a: !!binary eA==\n", false},
		{"a: 2001-12-14\n", false},
		{"a: 2001-12-14t21:59:43.10-05:00\n", false},
		{"a: 1\n---\nb: 2\n", false},
		{"a: 1\n---\nb: [\n", false},
		{"- a\n", false},
		{"a\n", false},
		{"null\n", false},
		{"---\n", false},
		{"", false},
		{"\n", false},
		{"a: [\n", false},
		{"a: b\n c: d\n", false},
		{"\tx: y\n", false},
		{"a: \x00\n", false},
		{"\xff\xfea\x00:\x00 \x00b\x00\n\x00", true}, // UTF-16
	} {
		if got := sameAsStore(t, []byte(c.text)); got != c.short {
			t.Errorf("%q: read in the short way: %v, want %v", c.text, got, c.short)
		}
	}
	paths, err := filepath.Glob("testdata/corpus/v*/*.yaml")
	if err != nil || len(paths) < 6 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		data := read(t, path)
		sameAsStore(t, []byte(data))
		var without []string // comments
		for line := range strings.Lines(data) {
			if !strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.Contains(line, " #ENC") {
				without = append(without, line)
			}
		}
		if !sameAsStore(t, []byte(strings.Join(without, ""))) && !strings.Contains(data, "---\n") {
			t.Errorf("%s: left to sops, even without its comments", path)
		}
	}
}

// The same for some thousand small changes to files that are read in the short way, in the time of
// a test.
func TestLoadYAML_mutations(t *testing.T) {
	t.Parallel()
	originals := []string{
		"a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nb:\n    c: 'x'\n    d: \"y\"\n    e: [1, 2.5, ~, true]\nf:\n    - g: h\n      i: |\n        j\n    - k\n",
		"a: 1\nb: {c: d, e: [f, {g: h}]}\n? i\n: j\nk: >-\n  l\n  m\n\"n\": 2\n",
	}
	pieces := []string{
		"\n", "\t", " ", "  ", "\"", "'", ":", ": ", "#", " # c\n", "{", "}", "[", "]", ",", "&a ", "*a", "!", "!!str ", "!!int ", "|", ">", "%", "@", "\\", "\x00", "?", "? ",
		"- ", "---\n", "...\n", "<<", "<<: ", "~", "null", "1", "0x1", "1e3", ".nan", "2001-01-01", "a", "a: ", "\n# c\n", "\r\n", "\u2028", "\xff", "=", "yes",
	}
	random := rand.New(rand.NewPCG(3, 4))
	short, refused := 0, 0
	const rounds = 20000
	for i := range rounds {
		data := []byte(originals[i%len(originals)])
		for range 1 + random.IntN(3) {
			at := random.IntN(len(data) + 1)
			switch random.IntN(4) {
			case 0:
				data = slices.Insert(data, at, []byte(pieces[random.IntN(len(pieces))])...)
			case 1:
				data = slices.Insert(data, at, data[at:min(len(data), at+random.IntN(20))]...)
			case 2:
				data = slices.Delete(data, at, min(len(data), at+random.IntN(5)))
			case 3:
				data = slices.Replace(data, at, min(len(data), at+1), []byte(pieces[random.IntN(len(pieces))])...)
			}
		}
		if sameAsStore(t, data) {
			short++
		} else if _, err := storeOf(manifest.YAML).LoadPlainFile(data); err != nil {
			refused++
		}
		if t.Failed() {
			return
		}
	}
	if short < rounds/10 || refused < rounds/10 {
		t.Errorf("of %d files %d were read in the short way and %d refused by sops", rounds, short, refused)
	}
}

// manyKeys is a file as sops writes it.
func manyKeys(n int) []byte {
	var text bytes.Buffer
	for i := range n {
		fmt.Fprintf(&text, "secret_%05d: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\n", i)
	}
	return text.Bytes()
}

func TestLoadYAML_manyKeys(t *testing.T) {
	t.Parallel()
	const keys = 5000
	if branch, ok := plainOf(manyKeys(keys)); !ok || len(branch) != keys {
		t.Errorf("%d keys of %d, %v", len(branch), keys, ok)
	}
}

// The time for each key does not depend on how many there are; of sops's own store it does.
func BenchmarkLoadYAML(b *testing.B) {
	for _, keys := range []int{200, 5000} {
		data := manyKeys(keys)
		for name, load := range map[string]func() (int, error){
			"here": func() (int, error) {
				branch, _ := plainOf(data)
				return len(branch), nil
			},
			"sops": func() (int, error) {
				branches, err := storeOf(manifest.YAML).LoadPlainFile(data)
				return len(branches[0]), err
			},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, keys), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if n, err := load(); err != nil || n != keys {
						b.Fatal(n, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(keys), "ns/key")
			})
		}
	}
}

// FuzzYAML: whatever is read in the short way sops reads to the same values; the rest is left to
// it.
func FuzzYAML(f *testing.F) {
	paths, err := filepath.Glob("testdata/corpus/v3.13.3/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{"a: {b: [1, 2.5, ~, true, 'x', \"y\"]}\n", "a: |\n  b\n? c\n: d\n", "a: !!str b\n", "a: &b c\nd: *b\n", "a: 012345\n", "a:\n", "a: b\r\n", "<<: {a: b}\n", "a: " + strings.Repeat("{", 20_000), strings.Repeat("- ", 5000) + "x"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameAsStore(t, data) })
}

func storeOf(format manifest.Format) sops.Store {
	return formats[format].store(config.NewStoresConfig())
}

func plainOf(data []byte) (sops.TreeBranch, bool) {
	documents, err := parseYAML(data)
	branch, ok := plainYAML(documents)
	return branch, ok && err == nil
}
