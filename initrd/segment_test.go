package initrd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has every kind of entry, and owners and modes that a copy could lose.
func sample() []Entry {
	return []Entry{
		{Path: secretsDir + "/etc/wg.conf", Mode: 0o440, UID: 152, GID: 153, Data: []byte("PrivateKey=x\n")},
		{Path: secretsDir + "/etc/luks.key", Mode: 0o400, Data: []byte("binary\x00\n\xff")},
		{Path: secretsDir + "/etc/empty", Mode: 0o600},
		{Path: secretsDir + "/etc/link", Mode: fs.ModeSymlink | 0o777, Target: "../luks.key"},
		{Path: secretsDir + "/run/private", Mode: fs.ModeDir | fs.ModeSticky | 0o700, UID: 1, GID: math.MaxUint32 - 1},
		{Path: secretsDir + "/run/suid", Mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, Data: []byte("s")},
		{Path: "/etc/crypttab", Mode: 0o400, Data: []byte("root /dev/vda - luks\n")},
	}
}

func TestNewSegment_refuses(t *testing.T) {
	t.Parallel()
	file := func(path string) Entry { return Entry{Path: path, Mode: 0o400} }
	in := func(path string) Entry { return file(secretsDir + "/" + path) }
	for _, c := range []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"no path", []Entry{{}}, `entry "": path is not absolute`},
		{"relative", []Entry{file("etc/key")}, `entry "etc/key": path is not absolute`},
		{"root", []Entry{{Path: "/", Mode: fs.ModeDir}}, `entry "/": the root itself cannot be an entry`},
		{"dots", []Entry{in("../x")}, `path is not clean: write "/x"`},
		{"trailing slash", []Entry{in("x/")}, "path is not clean"},
		{"two slashes", []Entry{file("//x")}, "path is not clean"},
		{"trailer", []Entry{file("/TRAILER!!!")}, "this name ends an archive"},
		{"our own names", []Entry{file("/.sops-initrd-end")}, `names beginning with "/.sops-initrd-" are taken`},
		{"NUL", []Entry{file("/a\x00b")}, "control character 0x00"},
		{"newline", []Entry{file("/a\nb")}, "control character 0x0a"},
		{"space", []Entry{in("a b")}, "' ' in the path: stage 1 would not copy"},
		{"wildcard", []Entry{in("a*")}, "'*' in the path"},
		{"question mark", []Entry{in("a?")}, "'?' in the path"},
		{"bracket", []Entry{in("a[")}, "'[' in the path"},
		{"backslash", []Entry{in(`a\b`)}, `'\\' in the path`},
		{"long element", []Entry{in(strings.Repeat("x", 256))}, "path element longer than 255 bytes"},
		{"long path", []Entry{file(strings.Repeat("/x", 2048) + "y")}, "path of 4096 bytes"},
		{"device", []Entry{{Path: "/dev/x", Mode: fs.ModeDevice | 0o600}}, "only regular files"},
		{"directory and link", []Entry{{Path: "/x", Mode: fs.ModeDir | fs.ModeSymlink, Target: "y"}}, "both directory and symbolic link"},
		{"no user", []Entry{{Path: "/x", UID: math.MaxUint32}}, "uid 4294967295 means no user"},
		{"no group", []Entry{{Path: "/x", GID: math.MaxUint32}}, "gid 4294967295 means no group"},
		{"data in directory", []Entry{{Path: "/x", Mode: fs.ModeDir, Data: []byte("secret")}}, "data in what is not a regular file"},
		{"data in link", []Entry{{Path: "/x", Mode: fs.ModeSymlink, Target: "y", Data: []byte("secret")}}, "data in what is not a regular file"},
		{"target of a file", []Entry{{Path: "/x", Target: "secret"}}, "target of what is not a symbolic link"},
		{"no target", []Entry{{Path: "/x", Mode: fs.ModeSymlink}}, "symbolic link without a target"},
		{"long target", []Entry{{Path: "/x", Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4096)}}, "target of 4096 bytes"},
		{"NUL in target", []Entry{{Path: "/x", Mode: fs.ModeSymlink, Target: "a\x00b"}}, "NUL in the target"},
		{"twice", []Entry{in("a"), in("b"), in("a")}, `entry "/.initrd-secrets/a": given more than once`},
		{"file as directory", []Entry{in("a"), in("a/b")}, `entry "/.initrd-secrets/a/b": its parent "/.initrd-secrets/a" is an entry and not a directory`},
		{"link as directory", []Entry{{Path: "/a", Mode: fs.ModeSymlink, Target: "b"}, file("/a/b/c")}, "not a directory"},
		{"secrets directory as file", []Entry{file(secretsDir)}, "must be a directory"},
		{"secrets directory as link", []Entry{{Path: secretsDir, Mode: fs.ModeSymlink, Target: "x"}}, "must be a directory"},
		{"too many", tooMany(), "but a segment takes 100000"},
		{"all at once", []Entry{file("a"), file("b")}, "entry \"a\": path is not absolute\nentry \"b\": path is not absolute"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := newSegment(c.entries, Digest{})
			if s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret\"") {
				t.Errorf("error shows content: %v", err)
			}
		})
	}
}

func tooMany() []Entry {
	entries := make([]Entry, maxEntries)
	for i := range entries {
		entries[i].Path = fmt.Sprintf("/%d", i)
	}
	return entries
}

func TestNewSegment_accepts(t *testing.T) {
	t.Parallel()
	for _, e := range []Entry{
		{Path: "/" + strings.Repeat("x", 255)},
		{Path: "/" + strings.Repeat("y/", 2047) + "z"},
		{Path: `/etc/systemd/system/dev-disk-by\x2dlabel-a.device.d/a b*.conf`},
		{Path: "/TRAILER!!!x"},
		{Path: "/a/TRAILER!!!"},
		{Path: "/a", UID: math.MaxUint32 - 1, GID: math.MaxUint32 - 1},
		{Path: "/a", Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4095)},
		{Path: secretsDir, Mode: fs.ModeDir | 0o700, UID: 1},
	} {
		s := mustSegment(t, []Entry{e}, Digest{})
		if _, err := s.Bytes(0); err != nil {
			t.Errorf("entry %v: %v", e, err)
		}
	}
}

// Sizes that a test cannot allocate are checked where the sums are made.
func TestCheckLimits(t *testing.T) {
	t.Parallel()
	if err := checkLimits(sample()); err != nil {
		t.Error(err)
	}
	if os.Getenv("CI") == "" && testing.Short() {
		t.Skip("maps 4 GiB")
	}
	if math.MaxInt == math.MaxInt32 {
		t.Skip("there is no room for 4 GiB")
	}
	size := int64(maxDataBytes)
	data := reserve(t, int(size+1))
	entry := Entry{Path: "/big", Data: data}
	if err := entry.check(nixos()); err == nil || !strings.Contains(err.Error(), "4294967296 bytes, but the archive format ends at 4294967295") {
		t.Errorf("error %v", err)
	}
	entry.Data = data[:size]
	if err := entry.check(nixos()); err != nil {
		t.Errorf("largest file: %v", err)
	}
	if err := checkLimits([]Entry{entry}); err == nil || !strings.Contains(err.Error(), "the limit is 4294967295") {
		t.Errorf("error %v", err)
	}
}

// Numbers of more than 31 bits are numbers on every host.
func TestSegment_large_ids(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, []Entry{{Path: secretsDir + "/x", UID: 1 << 31, GID: 1<<32 - 2, Data: []byte("x")}}, Digest{})
	image := join(t, nil, s)
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := entries(bytes.NewReader(image), in)
	if err != nil || infos[1].UID != 1<<31 || infos[1].GID != 1<<32-2 {
		t.Errorf("%+v, %v", infos, err)
	}
}

func TestSegment_contents_are_copied(t *testing.T) {
	t.Parallel()
	data := []byte("secret")
	s := mustSegment(t, []Entry{{Path: "/a", Data: data}}, Digest{})
	clear(data)
	b, err := s.Bytes(0)
	if err != nil || !bytes.Contains(b, []byte("secret")) {
		t.Errorf("%v", err)
	}
}

// The bytes of a segment are part of its promise: measured boot and content-addressed names
// depend on them.
func TestSegment_bytes_are_stable(t *testing.T) {
	t.Parallel()
	for base, want := range map[int64]string{
		0:    "f9ebe0ed894c1840c9caf681cb22ec712afc56b38961542c6e0eae334416f892",
		4711: "0e409d5399ea945d01922b2a72dfd5ac5e685ab557de3a01758080ca41eaa8cb",
	} {
		var last []byte
		for seed := range 3 {
			entries := sample()
			slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path[seed:], b.Path[seed:]) })
			b, err := mustSegment(t, entries, Digest{1, 2, 3}).Bytes(base)
			if err != nil {
				t.Fatal(err)
			}
			if last != nil && !bytes.Equal(b, last) {
				t.Error("the order of the entries changes the segment")
			}
			last = b
		}
		if got := sha256.Sum256(last); hex.EncodeToString(got[:]) != want {
			t.Errorf("base %d: SHA-256 %x, want %s", base, got, want)
		}
	}
}

func TestSegment_format(t *testing.T) {
	t.Parallel()
	b, err := mustSegment(t, sample(), Digest{1}).Bytes(10)
	if err != nil {
		t.Fatal(err)
	}
	if len(b)%4 != 0 || !bytes.HasPrefix(b, []byte("070701"+"00000001"+"00008100")) {
		t.Errorf("segment begins %q", b[:30])
	}
	if !bytes.HasSuffix(b, trailer()) {
		t.Errorf("segment ends %q", b[len(b)-trailerBytes:])
	}
	for _, want := range []string{
		"sops-initrd begin\nversion 00000001\nbase 000000000000000a\npadding 00000006\n",
		fmt.Sprintf(".\nsops-initrd end: version 00000001, length %016x.\n", len(b))[2:],
		"inputs 0100000000000000000000000000000000000000000000000000000000000000\n",
		fmt.Sprintf("%x  .initrd-secrets/etc/luks.key\n", sha256.Sum256([]byte("binary\x00\n\xff"))),
	} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %q in %q", want, b)
		}
	}
}

func TestPadding(t *testing.T) {
	t.Parallel()
	for base, want := range map[int64]int64{0: 4, 1: 7, 2: 6, 3: 5, 4: 4, 5: 7, 4096: 4, 1<<40 + 1: 7} {
		if got := Padding(base); got != want {
			t.Errorf("base of %d bytes: %d, want %d", base, got, want)
		}
	}
}

// The sum says what a segment holds, not where it lies.
func TestSegment_sum_is_the_same_everywhere(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, sample(), Digest{1})
	sums := map[Sum]bool{}
	for _, base := range []int{0, 1, 2, 3, 4, 100_003} {
		image := join(t, make([]byte, base), s)
		in, err := find(bytes.NewReader(image), int64(len(image)))
		if err != nil || !in.Whole {
			t.Fatalf("%+v, %v", in, err)
		}
		sums[in.Sum] = true
	}
	if len(sums) != 1 {
		t.Errorf("%d sums", len(sums))
	}
	other := join(t, nil, mustSegment(t, sample(), Digest{2}))
	if in, err := find(bytes.NewReader(other), int64(len(other))); err != nil || sums[in.Sum] {
		t.Errorf("%+v, %v: other inputs, same sum", in, err)
	}
}

func TestSegment_prints_nothing(t *testing.T) {
	t.Parallel()
	secret := "s3cret-value"
	entry := Entry{Path: "/a", Data: []byte(secret)}
	digest := Digest(sha256.Sum256([]byte(secret)))
	s := mustSegment(t, []Entry{entry}, digest)
	image := join(t, nil, s)
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	layout, err := inspect(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	res := Result{Sum: in.Sum}
	poison := []string{secret, hex.EncodeToString([]byte(secret)), bytesText([]byte(secret))}
	for _, sum := range [][]byte{digest[:], in.Sum[:]} {
		poison = append(poison, hex.EncodeToString(sum)[:16], bytesText(sum))
	}
	for _, v := range []any{entry, &entry, []Entry{entry}, s, *s, digest, &digest, in.Sum, in, *in, res, layout, layout.Parts, s.Entries()} {
		var out []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%o"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		js, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		for _, o := range append(out, string(js)) {
			for _, p := range poison {
				if strings.Contains(strings.ToLower(o), strings.ToLower(p)) {
					t.Errorf("%T prints %q", v, o)
				}
			}
		}
	}
}

// bytesText is how %v shows the beginning of some bytes.
func bytesText(b []byte) string { return strings.Trim(fmt.Sprintf("%v", b[:6]), "[]") }

// What the library wrote is read back: it loses errors and cuts what does not fit into a field,
// in silence.
func TestSegment_judged(t *testing.T) {
	b, err := mustSegment(t, sample(), Digest{}).Bytes(0)
	if err != nil {
		t.Fatal(err)
	}
	entries := mustSegment(t, sample(), Digest{}).entries
	foot, err := decodeFooter(b[len(b)-trailerBytes-endBytes:][:endBytes])
	if err != nil {
		t.Fatal(err)
	}
	if err := judge(b, entries, foot); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if judge(c, entries, foot) == nil && !inPosition(int64(i)) {
			t.Errorf("byte %d changed and nobody noticed", i)
		}
	}
	if judge(b, entries[1:], foot) == nil {
		t.Error("an entry too many and nobody noticed")
	}
}

func inPosition(off int64) bool {
	fields := zeroedFields(1 << 20)
	for _, f := range fields[:2] {
		if off >= f.off && off < f.off+f.n {
			return true
		}
	}
	return false
}

// Every reader that people have gets the same out of a segment: the kernel is asked elsewhere.
func TestSegment_other_readers(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, sample(), Digest{1})
	segment, err := s.Bytes(0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range s.Entries() {
		want = append(want, e.Path[1:])
	}
	want = append([]string{beginName, sumsName}, append(want, endName)...)

	t.Run("cpio list", func(t *testing.T) {
		t.Parallel()
		diff(t, want, lines(run(t, "", segment, "cpio", "--list", "--quiet")))
	})
	t.Run("bsdtar list", func(t *testing.T) {
		t.Parallel()
		diff(t, want, lines(run(t, "", segment, "bsdtar", "-tf", "-")))
	})
	t.Run("lsinitramfs", func(t *testing.T) {
		t.Parallel()
		// It knows plain archives only in front of a compressed one.
		path := filepath.Join(t.TempDir(), "image")
		base := newc(rec{"base", typeDir | 0o755, ""})
		writeFile(t, path, append(bytes.Clone(segment), compress(t, KindGzip, base)...))
		diff(t, append(slices.Clone(want), "base"), lines(run(t, "", nil, "lsinitramfs", path)))
	})
	t.Run("u-root", func(t *testing.T) {
		t.Parallel()
		diff(t, ownList(t, segment), urootList(t, segment))
	})
	t.Run("cavaliergopher", func(t *testing.T) {
		t.Parallel()
		diff(t, ownList(t, segment), cavalierList(t, segment))
	})
	t.Run("unpacked", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root can unpack owners")
		}
		a, b := t.TempDir(), t.TempDir()
		run(t, a, segment, "cpio", "-idm", "--quiet", "--no-absolute-filenames")
		run(t, b, segment, "bsdtar", "-xpf", "-")
		diff(t, tree(t, a), tree(t, b))
		for _, e := range s.entries {
			checkUnpacked(t, filepath.Join(a, e.Path), e)
		}
		out := run(t, a, nil, "sha256sum", "-c", sumsName)
		if n := len(lines(out)); n != 5 || strings.Contains(string(out), "FAILED") {
			t.Errorf("sha256sum -c: %s", out)
		}
	})
}

func diff(t *testing.T, want, got []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
}

func lines(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }
