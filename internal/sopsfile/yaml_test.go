package sopsfile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sops-initrd/internal/manifest"
)

// inGo writes a tree with all its types; other than with reflect.DeepEqual, NaN is NaN.
func inGo(v any) string { return fmt.Sprintf("%#v", v) }

// sameAsStore reads YAML in both ways and says whether the short one was taken. Where it is, sops reads the file, too, and to the
// same values.
func sameAsStore(t *testing.T, data []byte) (short bool) {
	t.Helper()
	branch, short := plainYAML(data)
	store := storeFor(manifest.YAML)
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

// What sops writes is read in the short way, what is special is left to sops, and both read the same.
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

// The same for some thousand small changes to files that are read in the short way, in the time of a test.
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
		} else if _, err := storeFor(manifest.YAML).LoadPlainFile(data); err != nil {
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

// The time for each key does not depend on how many there are. Of sops's own store it does: ten times as many take forty times as long.
func TestLoadYAML_manyKeys(t *testing.T) {
	t.Parallel()
	// The time of this thread's work: on a busy machine the other says nothing.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spent := func() time.Duration {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
			t.Fatal(err)
		}
		return time.Duration(now.Nano())
	}
	best := func(n int) time.Duration {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "secret_%05d: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\n", i)
		}
		least := time.Hour // of three: the collector works in between
		for range 3 {
			start := spent()
			if branch, ok := plainYAML([]byte(text.String())); !ok || len(branch) != n {
				t.Fatalf("%d keys of %d, %v", len(branch), n, ok)
			}
			least = min(least, spent()-start)
		}
		return least
	}
	const few, many, most = 2000, 20000, 25
	if ratio := best(many).Seconds() / best(few).Seconds(); ratio > most {
		t.Errorf("%d keys take %.1f times as long as %d, want no more than %d", many, ratio, few, most)
	}
}

// FuzzYAML: whatever is read in the short way sops reads to the same values; the rest is left to it.
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
	for _, text := range []string{"a: {b: [1, 2.5, ~, true, 'x', \"y\"]}\n", "a: |\n  b\n? c\n: d\n", "a: !!str b\n", "a: &b c\nd: *b\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameAsStore(t, data) })
}
