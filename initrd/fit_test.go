package initrd

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
)

// The premises of this file hold on a real kernel: a directory entry of a later archive sets the
// mode of an existing directory and replaces a symbolic link by an empty directory.

func fitBase(t testing.TB) []byte {
	t.Helper()
	return newc(
		rec{".", typeDir | 0o755, ""},
		rec{"etc", typeDir | 0o755, ""},
		rec{"etc/crypttab", typeSymlink | 0o777, "/nix/store/x"},
		rec{"etc/systemd", typeDir | 0o755, ""},
		rec{"etc/hosts", typeRegular | 0o644, "x"},
		rec{"lib", typeSymlink | 0o777, "usr/lib"},
		rec{"dev/console", 0o020600, ""},
		rec{"/usr", typeDir | 0o700, ""},
		rec{"./usr/lib", typeDir | 0o755, ""},
		rec{"swap", typeSymlink | 0o777, "usr"},
	)
}

func entryAt(path string) Entry { return Entry{Path: path, Mode: 0o400, Data: []byte("secret")} }

func TestInstall_outside(t *testing.T) {
	t.Parallel()
	dir := func(path string, mode fs.FileMode) Entry { return Entry{Path: path, Mode: fs.ModeDir | mode} }
	for _, c := range []struct {
		name    string
		entries []Entry
		want    []string // entries outside secretsDir
		warning string
	}{
		{"parent is a directory", []Entry{entryAt("/etc/veritytab")}, []string{"/etc/veritytab"}, ""},
		{"parents partly there", []Entry{entryAt("/etc/systemd/system/a.conf")}, []string{"/etc/systemd/system", "/etc/systemd/system/a.conf"}, ""},
		{"no parent there", []Entry{entryAt("/var/lib/a")}, []string{"/var", "/var/lib", "/var/lib/a"}, ""},
		{"parent given as the base writes it", []Entry{entryAt("/usr/lib/a")}, []string{"/usr/lib/a"}, ""},
		{"file over a link", []Entry{entryAt("/etc/crypttab")}, []string{"/etc/crypttab"}, ""},
		{"file over a file", []Entry{entryAt("/etc/hosts")}, []string{"/etc/hosts"}, ""},
		{"link over a file", []Entry{{Path: "/etc/hosts", Mode: fs.ModeSymlink, Target: "x"}}, []string{"/etc/hosts"}, ""},
		{"at the top", []Entry{entryAt("/key")}, []string{"/key"}, ""},
		{"declared directory that is there", []Entry{dir("/etc", 0o700), entryAt("/etc/a")}, []string{"/etc/a"}, `directory "/etc" is in the base and keeps its mode and owner`},
		{"declared directory that is not", []Entry{dir("/srv", 0o711)}, []string{"/srv"}, ""},
		{"link of one archive, directory of a later one", []Entry{entryAt("/swap/a")}, []string{"/swap/a"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{KindCPIO, KindZstd} {
				base := compress(t, kind, fitBase(t))
				base = append(base, make([]byte, Padding(int64(len(base))))...)
				base = append(base, compress(t, KindGzip, newc(rec{"swap", typeDir | 0o755, ""}))...)
				b := newBoot(t, base)
				known := b.withBase(base)
				s := mustSegment(t, c.entries, Digest{})
				res := b.install(s, Options{}, Appended)
				if len(res.Warnings) != 0 && c.warning == "" || c.warning != "" && (len(res.Warnings) != 1 || res.Warnings[0].Text != c.warning) {
					t.Errorf("warnings %+v", res.Warnings)
				}
				diff(t, c.want, outsideOf(t, b.image))
				b.install(s, Options{}, Unchanged)
				b.install(s, known, Unchanged)
			}
		})
	}
}

// outsideOf lists the entries outside secretsDir that an image's last segment has.
func outsideOf(t *testing.T, path string) []string {
	t.Helper()
	image := readFile(t, path)
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := entries(bytes.NewReader(image), in)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range infos {
		if nixos().outside(i.Path) {
			out = append(out, i.Path)
		}
	}
	return out
}

func TestInstall_outside_refuses(t *testing.T) {
	t.Parallel()
	hard := newc(rec{"etc", typeDir | 0o755, ""}, rec{"etc/a", typeRegular | 0o644, "x"})
	hard = bytes.Replace(hard, []byte("000081A4"+"00000000"+"00000000"+"00000001"), []byte("000081A4"+"00000000"+"00000000"+"00000002"), 1)
	for _, c := range []struct {
		name  string
		base  []byte
		entry Entry
		want  string
	}{
		{"below a link", fitBase(t), entryAt("/lib/modules/a"), `entry "/lib": the base has a symbolic link there, which a directory would replace`},
		{"directly below a link", fitBase(t), entryAt("/lib/a"), `entry "/lib": the base has a symbolic link there`},
		{"below a file", fitBase(t), entryAt("/etc/hosts/a"), `entry "/etc/hosts": the base has a file there`},
		{"below a device", fitBase(t), entryAt("/dev/console/a"), `entry "/dev/console": the base has a device there`},
		{"file over a directory", fitBase(t), entryAt("/etc/systemd"), `entry "/etc/systemd": the base has a directory there, and the kernel would drop the entry`},
		{"over a hard link", hard, entryAt("/etc/a"), `entry "/etc/a": the base has a hard link there`},
		{"torn base", fitBase(t)[:700], entryAt("/etc/a"), "torn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, c.base)
			known := b.withBase(c.base)
			s := mustSegment(t, []Entry{c.entry}, Digest{})
			b.fails(s, Options{}, c.want)
			b.fails(s, known, c.want)
			if err := b.fails(s, known, c.want); strings.Contains(err.Error(), "secret\"") {
				t.Errorf("error shows content: %v", err)
			}
		})
	}
	t.Run("no base", func(t *testing.T) {
		t.Parallel()
		for _, image := range [][]byte{nil, {}} {
			b := newBoot(t, image)
			b.fails(mustSegment(t, []Entry{entryAt("/etc/a")}, Digest{}), Options{}, "has no base, and entries outside /.initrd-secrets need to be compared with one")
		}
	})
}

// GRUB loads the segment as a file of its own, behind the base that is named.
func TestInstall_outside_new_file(t *testing.T) {
	t.Parallel()
	b := newBoot(t, nil)
	o := b.withBase(fitBase(t))
	s := mustSegment(t, []Entry{entryAt("/etc/a")}, Digest{})
	b.install(s, o, Created)
	diff(t, []string{"/etc/a"}, outsideOf(t, b.image))
	b.install(s, o, Unchanged)
}

// A salvaged segment has exactly the directories that its base had not. On another base it is
// refused.
func TestInstall_outside_salvaged(t *testing.T) {
	t.Parallel()
	base := fitBase(t)
	b := newBoot(t, base)
	b.install(mustSegment(t, []Entry{entryAt("/etc/new/a")}, Digest{7}), Options{}, Appended)
	s := extractFrom(t, b.image)
	for name, c := range map[string]struct {
		base []byte
		want string
	}{
		"same":         {base, ""},
		"has it":       {append(bytes.Clone(base), newc(rec{"etc/new", typeDir | 0o700, ""})...), `entry "/etc/new": the segment was made for another base: this one has the directory`},
		"lacks parent": {newc(rec{"usr", typeDir | 0o700, ""}), `entry "/etc/new": the segment was made for another base: this one has no directory "/etc"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, c.base)
			if c.want != "" {
				b.fails(s, Options{}, c.want)
				return
			}
			b.install(s, Options{}, Appended)
		})
	}
}

func extractFrom(t testing.TB, path string) *Segment {
	t.Helper()
	image := readFile(t, path)
	in, err := find(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := extract(bytes.NewReader(image), in, nixos())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
