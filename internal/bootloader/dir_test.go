package bootloader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// strange is a boot directory with everything that is not a plain file in it, and a file outside.
func strange(t *testing.T) *Dir {
	t.Helper()
	dir := boot(t, map[string]string{"boot/real/file": "inside", "outside": "outside"})
	d := filepath.Join(dir, "boot")
	err := errors.Join(
		os.Symlink("real/file", filepath.Join(d, "link")), os.Symlink("../outside", filepath.Join(d, "out")),
		os.Symlink(filepath.Join(dir, "outside"), filepath.Join(d, "absolute")), os.Symlink("real", filepath.Join(d, "dir-link")),
		os.Symlink("loop", filepath.Join(d, "loop")), os.Symlink("nowhere", filepath.Join(d, "dangling")),
		unix.Mkfifo(filepath.Join(d, "fifo"), 0o600), os.Symlink("..", filepath.Join(d, "up")),
		os.Symlink("/proc/self/root", filepath.Join(d, "magic")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return openDir(t, d)
}

// Reading follows links inside the directory and never leaves it; what is written to is reached
// without any link. Nothing waits for a FIFO.
func TestDir_staysBelow(t *testing.T) {
	t.Parallel()
	d := strange(t)
	for _, c := range []struct {
		name       string
		read, ours bool
	}{
		{"real/file", true, true},
		{"link", true, false},
		{"dir-link/file", true, false},
		{"out", false, false},
		{"absolute", false, false},
		{"up/outside", false, false},
		{"up/boot/real/file", false, false},
		{"../outside", false, false},
		{"magic/etc/passwd", false, false},
		{"real", false, false},
		{"loop", false, false},
		{"dangling", false, false},
		{"fifo", false, false},
		{"real/file/x", false, false},
		{"none", false, false},
		{"", false, false},
	} {
		f, err := d.open(c.name)
		if (err == nil) != c.read {
			t.Errorf("open %q: %v", c.name, err)
		}
		if err == nil {
			_ = f.Close()
		}
		if _, err := d.ours(c.name); (err == nil) != c.ours {
			t.Errorf("ours %q: %v", c.name, err)
		}
	}
}

func TestDir_glob(t *testing.T) {
	t.Parallel()
	d := strange(t)
	for pattern, want := range map[string][]string{
		"*/file": {"dir-link/file", "real/file"}, "real/*": {"real/file"}, "link": {"link"}, "none": nil, "*/*/x": nil,
		"fi*": {"fifo"}, "fifo/*": nil, "up/*": nil,
	} {
		got, err := d.glob(pattern)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%q: %q, %v; want %q", pattern, got, err, want)
		}
	}
}

// Whatever a menu names, it is below the boot directory.
func TestMenu_host(t *testing.T) {
	t.Parallel()
	d := strange(t)
	m := &Menu{Kind: Extlinux, dir: d}
	for name, want := range map[string]string{
		"/real/file": "real/file", `\real\file`: "real/file", "/../outside": "outside", "/../../../etc/passwd": "etc/passwd",
		"../real/file": "real/file", "../../../outside": "outside", "/boot/real/file": "real/file", "/etc/passwd": "etc/passwd",
		"/nix/store/../../etc/passwd": "etc/passwd", "/real/../../outside": "outside",
	} {
		if got := m.host("extlinux/extlinux.conf", name); got != filepath.Join(d.path, want) {
			t.Errorf("%q is %s, want %s below the directory", name, got, want)
		}
	}
}

// One odd file of a menu costs its own entries and is named.
func TestRead_oddFiles(t *testing.T) {
	t.Parallel()
	dir := boot(t, map[string]string{
		"loader/entries/good.conf": blsEntry, "loader/entries/large.conf": strings.Repeat("x", maxMenuBytes+1),
		"EFI/Linux/good.efi": image(t, map[string]string{".cmdline": "init=/nix/store/ccc/init", ".initrd": "x"}),
		"EFI/Linux/long.efi": image(t, map[string]string{".cmdline": strings.Repeat("x", maxSection+1), ".initrd": "x"}),
	})
	entries := filepath.Join(dir, "loader", "entries")
	err := errors.Join(
		os.Mkdir(filepath.Join(entries, "backup.conf"), 0o755), os.Symlink("/nowhere", filepath.Join(entries, "old.conf")),
		os.Symlink("b.conf", filepath.Join(entries, "a.conf")), os.Symlink("a.conf", filepath.Join(entries, "b.conf")),
		unix.Mkfifo(filepath.Join(entries, "fifo.conf"), 0o600), os.Symlink("/etc/passwd", filepath.Join(entries, "out.conf")),
	)
	if err != nil {
		t.Fatal(err)
	}
	d := openDir(t, dir)
	for kind, odd := range map[Kind]int{SystemdBoot: 7, Lanzaboote: 1} {
		m, err := Read(kind, d)
		if err != nil || len(m.Entries) != 1 || len(m.Odd) != odd {
			t.Errorf("%s: %+v, %v; want one entry and %d odd files", kind, m, err, odd)
		}
	}
}

// Two names of one file are the same, and so are two that differ in case only.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := boot(t, map[string]string{"a/One.img": "1", "a/two.img": "2"})
	if err := errors.Join(os.Link(filepath.Join(dir, "a/One.img"), filepath.Join(dir, "hard")), os.Symlink("a", filepath.Join(dir, "b"))); err != nil {
		t.Fatal(err)
	}
	s := newFiles()
	s.add(filepath.Join(dir, "a/One.img"))
	s.add(filepath.Join(dir, "none"))
	for name, want := range map[string]bool{
		"a/One.img": true, "a/ONE.IMG": true, "b/one.img": true, "hard": true, "NONE": true, "a/two.img": false, "a": false,
	} {
		if got := s.has(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The time that a menu takes grows with its length, not with the square.
func TestLook_cost(t *testing.T) {
	t.Parallel()
	reads := func(n int) int64 {
		files := make(map[string]string)
		for i := range n {
			files[fmt.Sprintf("loader/entries/nixos-%d.conf", i)] = blsEntry
		}
		dir := boot(t, files)
		before := cpu(t)
		if _, err := Look(t.Context(), LookOptions{Boots: []string{dir}}); err != nil {
			t.Fatal(err)
		}
		return cpu(t) - before
	}
	small := reads(300)
	if large := reads(3000); large > 40*small && large > 2e9 {
		t.Errorf("ten times as many entries take %d times as long", large/small)
	}
}

// cpu is the time that this process has computed, in nanoseconds.
func cpu(t *testing.T) int64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func TestChosen(t *testing.T) {
	t.Parallel()
	conf := func(n string) string { return strings.Replace(blsEntry, "version Generation 7", "version "+n, 1) }
	for _, c := range []struct {
		name  string
		kind  Kind
		files map[string]string
		want  []string
	}{
		{"loader.conf names a file", SystemdBoot, map[string]string{"loader/loader.conf": "timeout 5\ndefault nixos-9.conf\n", "loader/entries/nixos-9.conf": conf("9"), "loader/entries/nixos-10.conf": conf("10")}, []string{"9"}},
		{"a pattern, of which the newest", SystemdBoot, map[string]string{"loader/loader.conf": "default nixos-*\n", "loader/entries/nixos-9.conf": conf("9"), "loader/entries/nixos-10.conf": conf("10")}, []string{"10"}},
		{"saved, which is not told", SystemdBoot, map[string]string{"loader/loader.conf": "default @saved\n", "loader/entries/nixos-9.conf": conf("9")}, nil},
		{"no loader.conf", SystemdBoot, map[string]string{"loader/entries/nixos-9.conf": conf("9")}, nil},
		{"extlinux", Extlinux, map[string]string{"extlinux/extlinux.conf": extlinuxConfig}, []string{"nixos-default"}},
		{"limine counts groups", Limine, map[string]string{"limine/limine.conf": limineConfig}, []string{"Default"}},
		{"GRUB, the first", GRUB, map[string]string{"grub/grub.cfg": "set default=0\n" + grubConfig}, []string{"NixOS"}},
		{"GRUB, a variable", GRUB, map[string]string{"grub/grub.cfg": "set default=\"${saved_entry}\"\n" + grubConfig}, nil},
		{"Raspberry Pi, prefix", RaspberryPi, map[string]string{"config.txt": "os_prefix=nixos/2-default/\n", "cmdline.txt": "init=/nix/store/a/init", "nixos/2-default/cmdline.txt": "init=/nix/store/b/init"}, []string{"2-default"}},
		{"Raspberry Pi, top", RaspberryPi, map[string]string{"cmdline.txt": "init=/nix/store/a/init", "nixos/2-default/cmdline.txt": "init=/nix/store/b/init"}, []string{"default"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := Read(c.kind, openDir(t, boot(t, c.files)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range m.Entries {
				if e.Default {
					got = append(got, e.Title)
				}
			}
			if !slices.EqualFunc(c.want, got, func(w, g string) bool { return strings.Contains(g, w) }) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A variable keeps every unit that is not the name of the initrd, valid text or not.
func TestRewriteVariable_surrogates(t *testing.T) {
	t.Parallel()
	const guid = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	lone := "\x3d\xd8" // the first half of a pair, alone
	head, _, _ := strings.Cut(variable("x", "@"), "@")
	u := func(text string) string {
		_, rest, _ := strings.Cut(variable("x", "@"+text), "@")
		return rest[1:]
	}
	old := head + u("init=/a/init ") + lone + u("\x00\x00 initrd=\\b") + lone + u(" q") + lone
	vars := boot(t, map[string]string{"Boot0001" + guid: old, "BootOrder" + guid: "\x07\x00\x00\x00\x01\x00"})
	m := &Menu{Kind: EFIStub, dir: openDir(t, t.TempDir())}
	if err := m.addVariables(vars); err != nil || len(m.Entries) != 1 || !m.Entries[0].Default {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := m.SetInitrds(map[int]string{0: "x"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(vars, "Boot0001"+guid))
	want := head + u("init=/a/init ") + lone + u("\x00\x00 initrd=\\x") + u(" q") + lone
	if err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if variable, description := nextOf(vars); variable != "Boot0001"+guid || description != "x" {
		t.Errorf("next: %q, %q", variable, description)
	}
}

// A variable that cannot be read costs itself.
func TestAddVariables_odd(t *testing.T) {
	t.Parallel()
	const guid = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	vars := boot(t, map[string]string{"Boot0002" + guid: variable("NixOS", "init=/a/init initrd=\\b"), "Boot0003" + guid: strings.Repeat("x", maxVariableBytes+1)})
	if err := errors.Join(os.Mkdir(filepath.Join(vars, "Boot0001"+guid), 0o755), unix.Mkfifo(filepath.Join(vars, "Boot0004"+guid), 0o600)); err != nil {
		t.Fatal(err)
	}
	m := &Menu{Kind: EFIStub, dir: openDir(t, t.TempDir())}
	if err := m.addVariables(vars); err != nil || len(m.Entries) != 1 || len(m.Odd) != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := bootVariables(filepath.Join(vars, "none")); err != nil {
		t.Error(err)
	}
}
