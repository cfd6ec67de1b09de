package bootloader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// The texts are as NixOS's installers write them.
const (
	blsEntry = `title NixOS
sort-key nixos
version Generation 7 NixOS 26.05, built on 2026-11-01
linux /EFI/nixos/aaa-linux-6.12-bzImage.efi
initrd /EFI/nixos/bbb-initrd-linux-6.12-initrd.efi
options init=/nix/store/ccc-nixos-system-host-26.05/init loglevel=4
machine-id 0123
`
	foreignEntry = "title Other\nlinux /vmlinuz\ninitrd /initrd\noptions root=/dev/sda1\n"
	grubConfig   = `set timeout=5
menuentry "NixOS" --class nixos --unrestricted {
search --set=drive1 --fs-uuid 1234
  linux ($drive1)//kernels/aaa-linux init=/nix/store/ccc-nixos-system/init loglevel=4
  initrd ($drive1)//kernels/bbb-initrd ($drive1)//kernels/ccc-nixos-system-secrets
}
submenu "NixOS - All configurations" --class submenu {
menuentry "NixOS - Configuration 6 (2026-10-01 - 26.05)" --class nixos {
  linux /boot/kernels/aaa-linux init=/nix/store/ddd-nixos-system/init loglevel=4
  initrd /boot/kernels/bbb-initrd
}
menuentry "NixOS - Xen" --class nixos {
  multiboot ($drive1)//kernels/xen dom0_mem=1
  module ($drive1)//kernels/aaa-linux init=/nix/store/eee-nixos-system/init loglevel=4
  module ($drive1)//kernels/bbb-initrd
}
menuentry "Memtest" { linux16 /memtest.bin }
}
`
	limineConfig = `timeout: 5
default_entry: 3
/+NixOS
//+Generation 7
///Default
protocol: linux
comment: NixOS, built on 2026-11-01
kernel_path: boot():/limine/kernels/aaa-linux#00
cmdline: init=/nix/store/ccc-nixos-system/init loglevel=4
module_path: boot():/limine/kernels/bbb-initrd#11
module_path: boot():/limine/kernels/kernels-ccc-nixos-system-secrets#22
///alt
protocol: linux
cmdline: init=/nix/store/ddd-nixos-system/init
module_path: boot():/limine/kernels/bbb-initrd#11
/Other
protocol: efi
path: boot():/EFI/other.efi
`
	extlinuxConfig = `# Generated file, all changes will be lost on nixos-rebuild!

DEFAULT nixos-default

MENU TITLE ----
TIMEOUT 50

LABEL nixos-default
  MENU LABEL NixOS - Default
  LINUX ../nixos/aaa-linux-Image
  INITRD ../nixos/bbb-initrd
  APPEND init=/nix/store/ccc-nixos-system/init loglevel=4
  FDTDIR ../nixos/fff-dtbs

LABEL nixos-6
  MENU LABEL NixOS - Configuration 6
  LINUX ../nixos/aaa-linux-Image
  INITRD ../nixos/bbb-initrd
  APPEND init=/nix/store/ddd-nixos-system/init loglevel=4
`
	refindConfig = `timeout 5
# NixOS boot entries start here
menuentry "NixOS default profile Generation 7" {
submenuentry "Default" {
  loader /efi/refind/kernels/aaa-linux
  initrd /efi/refind/kernels/bbb-initrd
  options "init=/nix/store/ccc-nixos-system/init loglevel=4"
}
submenuentry "alt" {
  loader /efi/refind/kernels/aaa-linux
  initrd /efi/refind/kernels/bbb-initrd
  options "init=/nix/store/ddd-nixos-system/init"
}
}
# NixOS boot entries end here
`
)

// boot makes a boot directory with these files.
func boot(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// seen is an entry without what depends on the place of the test.
type seen struct {
	Title, Toplevel string
	Initrds         []string
}

// openDir opens a boot directory until the end of the test.
func openDir(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func entries(t *testing.T, m *Menu) (all []seen) {
	t.Helper()
	for _, e := range m.Entries {
		s := seen{Title: e.Title, Toplevel: e.Toplevel}
		for _, i := range e.Initrds {
			rel, err := filepath.Rel(m.dir.path, i)
			if err != nil {
				t.Fatal(err)
			}
			s.Initrds = append(s.Initrds, rel)
		}
		all = append(all, s)
	}
	return all
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  Kind
		files map[string]string
		want  []seen
	}{
		{SystemdBoot, map[string]string{"loader/entries/nixos-generation-7.conf": blsEntry, "loader/entries/other.conf": foreignEntry}, []seen{
			{"NixOS Generation 7 NixOS 26.05, built on 2026-11-01", "/nix/store/ccc-nixos-system-host-26.05", []string{"EFI/nixos/bbb-initrd-linux-6.12-initrd.efi"}},
		}},
		{SystemdBoot, map[string]string{
			"loader/entries/nixos-7.conf": "title NixOS\nuki /EFI/nixos/seven.efi\n", "loader/entries/none.conf": "title Gone\nuki /EFI/nixos/none.efi\n",
			"EFI/nixos/seven.efi": image(t, map[string]string{".cmdline": "init=/nix/store/ccc-nixos-system/init", ".initrd": "the initrd itself"}),
		}, []seen{{"NixOS", "/nix/store/ccc-nixos-system", []string{"EFI/nixos/seven.efi"}}}},
		{GRUB, map[string]string{"grub/grub.cfg": grubConfig, "kernels/bbb-initrd": ""}, []seen{
			{"NixOS", "/nix/store/ccc-nixos-system", []string{"kernels/bbb-initrd", "kernels/ccc-nixos-system-secrets"}},
			{"NixOS - Configuration 6 (2026-10-01 - 26.05)", "/nix/store/ddd-nixos-system", []string{"kernels/bbb-initrd"}},
			{"NixOS - Xen", "/nix/store/eee-nixos-system", []string{"kernels/bbb-initrd"}},
		}},
		{Limine, map[string]string{"limine/limine.conf": limineConfig}, []seen{
			{"Default", "/nix/store/ccc-nixos-system", []string{"limine/kernels/bbb-initrd", "limine/kernels/kernels-ccc-nixos-system-secrets"}},
			{"alt", "/nix/store/ddd-nixos-system", []string{"limine/kernels/bbb-initrd"}},
		}},
		{Extlinux, map[string]string{"extlinux/extlinux.conf": extlinuxConfig}, []seen{
			{"nixos-default", "/nix/store/ccc-nixos-system", []string{"nixos/bbb-initrd"}},
			{"nixos-6", "/nix/store/ddd-nixos-system", []string{"nixos/bbb-initrd"}},
		}},
		{REFInd, map[string]string{"efi/refind/refind.conf": refindConfig}, []seen{
			{"Default", "/nix/store/ccc-nixos-system", []string{"efi/refind/kernels/bbb-initrd"}},
			{"alt", "/nix/store/ddd-nixos-system", []string{"efi/refind/kernels/bbb-initrd"}},
		}},
		{Lanzaboote, map[string]string{
			"EFI/Linux/nixos-7.efi": image(t, map[string]string{".cmdline": "init=/nix/store/ccc-nixos-system/init quiet", ".initrd": `\EFI\nixos\initrd-6.12-abc.efi`}),
			"EFI/Linux/nixos-6.efi": image(t, map[string]string{".cmdline": "init=/nix/store/ddd-nixos-system/init", ".initrdp": `\EFI\nixos\initrd-6.6-abc.efi`}),
			"EFI/Linux/uki.efi":     image(t, map[string]string{".cmdline": "init=/nix/store/eee-nixos-system/init", ".initrd": "the initrd itself"}),
			"EFI/Linux/other.efi":   "not an image",
		}, []seen{
			{"nixos-6", "/nix/store/ddd-nixos-system", []string{"EFI/nixos/initrd-6.6-abc.efi"}},
			{"nixos-7", "/nix/store/ccc-nixos-system", []string{"EFI/nixos/initrd-6.12-abc.efi"}},
			{"uki", "/nix/store/eee-nixos-system", []string{"EFI/Linux/uki.efi"}},
		}},
		{RaspberryPi, map[string]string{
			"cmdline.txt":                     "loglevel=4 init=/nix/store/ccc-nixos-system/init\n",
			"initrd":                          "",
			"old/default-system":              "/nix/store/ccc-nixos-system\n",
			"old/default-initrd":              "/boot/old/bbb-initrd-linux-initrd\n",
			"old/6-system":                    "/nix/store/ddd-nixos-system\n",
			"old/6-initrd":                    "../old/bbb-initrd-linux-initrd\n",
			"old/5-system":                    "/nix/store/eee-nixos-system\n", // without a record of its initrd
			"nixos/4-default/cmdline.txt":     "init=/nix/var/nix/profiles/system-4-link/init loglevel=4",
			"nixos/default.bkp.7/cmdline.txt": "init=/nix/store/fff-nixos-system/init",
			"overlays/other/cmdline.txt":      "console=tty1",
		}, []seen{
			{"default", "/nix/store/ccc-nixos-system", []string{"initrd"}},
			{"4-default", "/nix/var/nix/profiles/system-4-link", []string{"nixos/4-default/initrd"}},
			{"generation 6", "/nix/store/ddd-nixos-system", []string{"old/bbb-initrd-linux-initrd"}},
		}},
		{EFIStub, map[string]string{
			"efi/nixos/generation-7-startup.nsh": `\efi\nixos\aaa-bzImage.efi systemConfig=/nix/store/ccc-nixos-system init=/nix/store/ccc-nixos-system/init initrd=\efi\nixos\bbb-initrd quiet` + "\n",
			"startup.nsh":                        `bzImage.efi init=/nix/store/ccc-nixos-system/init initrd=\efi\nixos\bbb-initrd` + "\n",
		}, []seen{
			{"generation-7", "/nix/store/ccc-nixos-system", []string{"efi/nixos/bbb-initrd"}},
			{"startup.nsh", "/nix/store/ccc-nixos-system", []string{"efi/nixos/bbb-initrd"}},
		}},
		{Listed, map[string]string{ListName: `{"version": 1, "entries": [
			{"title": "NixOS 7", "system": "/nix/store/ccc-nixos-system", "image": "own/7.img"},
			{"system": "/nix/store/ddd-nixos-system", "image": "own/6.img"}]}`}, []seen{
			{"NixOS 7", "/nix/store/ccc-nixos-system", []string{"own/7.img"}},
			{"ddd-nixos-system", "/nix/store/ddd-nixos-system", []string{"own/6.img"}},
		}},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			dir := boot(t, c.files)
			m, err := Read(c.kind, openDir(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, entries(t, m)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			all, err := Find(openDir(t, dir))
			if err != nil || len(all) != 1 || all[0].Kind != c.kind {
				t.Errorf("Find: %d menus, %v; want this one", len(all), err)
			}
		})
	}
}

func TestRead_nothing(t *testing.T) {
	t.Parallel()
	dir := openDir(t, t.TempDir())
	for _, kind := range Kinds() {
		if _, err := Read(kind, dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestEmbeddedInitrd(t *testing.T) {
	t.Parallel()
	dir := boot(t, map[string]string{"uki.efi": image(t, map[string]string{".initrd": "the initrd itself"})})
	r, size, closer, err := EmbeddedInitrd(filepath.Join(dir, "uki.efi"))
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil || string(data) != "the initrd itself" {
		t.Errorf("%q, %v", data, err)
	}
}

// Only the name of the initrd changes, and only in the entries that were named.
func TestSetInitrds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind          Kind
		file, content string
		entry         int
		old, want     string
	}{
		{SystemdBoot, "loader/entries/nixos-generation-7.conf", blsEntry, 0, "initrd /EFI/nixos/bbb-initrd-linux-6.12-initrd.efi\n", "initrd /sops-initrd/x-initrd\n"},
		{SystemdBoot, "loader/entries/a.conf", "initrd /ucode\ninitrd /main\noptions init=/nix/store/ccc/init\n", 0, "initrd /main\n", "initrd /sops-initrd/x-initrd\n"},
		{Extlinux, "extlinux/extlinux.conf", extlinuxConfig, 1, "  INITRD ../nixos/bbb-initrd\n  APPEND init=/nix/store/ddd", "  INITRD ../sops-initrd/x-initrd\n  APPEND init=/nix/store/ddd"},
		{REFInd, "efi/refind/refind.conf", refindConfig, 0, "  initrd /efi/refind/kernels/bbb-initrd\n  options \"init=/nix/store/ccc", "  initrd /sops-initrd/x-initrd\n  options \"init=/nix/store/ccc"},
		{
			EFIStub, "efi/nixos/generation-7-startup.nsh", "a.efi init=/nix/store/ccc/init initrd=\\efi\\nixos\\bbb quiet initrd2=x\n", 0,
			` initrd=\efi\nixos\bbb `, ` initrd=\sops-initrd\x-initrd `,
		},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			dir := boot(t, map[string]string{c.file: c.content})
			m, err := Read(c.kind, openDir(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.SetInitrds(map[int]string{c.entry: "sops-initrd/x-initrd"}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Replace(c.content, c.old, c.want, 1), string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if info, err := os.Stat(filepath.Join(dir, c.file)); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v; want it as it was", info.Mode(), err)
			}
			again, err := Read(c.kind, openDir(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(entries(t, m), entries(t, again)); d != "" {
				t.Errorf("read again, -want +got:\n%s", d)
			}
		})
	}
	t.Run("a menu whose entries have several", func(t *testing.T) {
		t.Parallel()
		dir := boot(t, map[string]string{"grub/grub.cfg": grubConfig})
		m, err := Read(GRUB, openDir(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetInitrds(map[int]string{0: "x"}); err == nil {
			t.Error("was changed")
		}
	})
}

// A list decides which files are written to, so nothing in it may lead elsewhere.
func TestRead_badList(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, list, want string }{
		{"no JSON", "x", "invalid character"},
		{"more than a list", `{"version": 1} x`, "has something behind the object"},
		{"version", `{"version": 2}`, "version 2 is not known"},
		{"field", `{"version": 1, "entries": [{"picture": "x"}]}`, "unknown field"},
		{"relative system", `{"version": 1, "entries": [{"system": "x", "image": "i"}]}`, "is not an absolute path"},
		{"no image", `{"version": 1, "entries": [{"system": "/x"}]}`, "has no image"},
		{"outside", `{"version": 1, "entries": [{"system": "/x", "image": "../i"}]}`, "is not below"},
		{"in the store", `{"version": 1, "entries": [{"system": "/x", "image": "/nix/store/i"}]}`, "is not below"},
		{"through a link", `{"version": 1, "entries": [{"system": "/x", "image": "link/passwd"}]}`, "not a directory"},
		{"shared", `{"version": 1, "entries": [{"system": "/x", "image": "i"}, {"system": "/y", "image": "./i"}]}`, "every system needs one of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := boot(t, map[string]string{ListName: c.list})
			if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			m, err := Read(Listed, openDir(t, dir))
			if err != nil || len(m.Entries) > 0 || len(m.Odd) != 1 || !strings.Contains(m.Odd[0].Err.Error(), c.want) {
				t.Errorf("%+v, %v; want %q", m, err, c.want)
			}
		})
	}
}

// image makes a PE file with nothing but these sections.
func image(t *testing.T, sections map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	head := make([]byte, 0x40)
	copy(head, "MZ")
	head[0x3c] = 0x40
	b.Write(head)
	b.WriteString("PE\x00\x00")
	put([]uint16{0x8664, uint16(len(sections))})
	put([]uint32{0, 0, 0})
	put([]uint16{0, 0})
	at := uint32(b.Len() + 40*len(sections))
	var data []byte
	for name, content := range sections {
		var n [8]byte
		copy(n[:], name)
		b.Write(n[:])
		padded := uint32(len(content)+15) &^ 15
		put([]uint32{uint32(len(content)), at, padded, at, 0, 0, 0, 0})
		data = append(data, content...)
		data = append(data, make([]byte, int(padded)-len(content))...)
		at += padded
	}
	b.Write(data)
	return b.String()
}

// variable is a boot entry of the firmware, as efivarfs shows it. Its device path is only the end
// of one.
func variable(description, parameters string) string {
	b := []byte("\x07\x00\x00\x00\x01\x00\x00\x00\x04\x00")
	for _, unit := range utf16.Encode([]rune(description + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	b = append(b, 0x7f, 0xff, 4, 0)
	for _, unit := range utf16.Encode([]rune(parameters)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return string(b)
}

func TestAddVariables(t *testing.T) {
	t.Parallel()
	const guid = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	long := "init=/nix/store/ccc/init initrd=" + strings.Repeat(`\a-directory`, 20) + `\bbb quiet ü`
	vars := boot(t, map[string]string{
		"Boot0000" + guid:         variable("Firmware's own", "\x01\x02"),
		"Boot0001" + guid:         variable("NixOS 7 Generation", long),
		"Boot000A" + guid:         variable("NixOS 6 Generation", `init=/nix/store/ddd/init initrd=\efi\nixos\bbb`+"\x00"),
		"Boot000B" + guid:         variable("two initrds", `init=/nix/store/eee/init initrd=\one initrd=\two`),
		"Boot000C" + guid:         "short",
		"Boot000D" + guid:         "\x07\x00\x00\x00\x01\x00\x00\x00\xff\xff" + "x\x00\x00\x00",
		"Boot0001" + guid + ".x":  "",
		"BootOrder" + guid:        variable("x", "init=/nix/store/fff/init"),
		"Boot0002-another-vendor": variable("x", "init=/nix/store/fff/init"),
	})
	dir := t.TempDir()
	m := &Menu{Kind: EFIStub, dir: openDir(t, dir)}
	if err := m.addVariables(vars); err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, e := range m.Entries {
		titles = append(titles, e.Title+" "+e.Toplevel)
	}
	if d := cmp.Diff([]string{"NixOS 7 Generation /nix/store/ccc", "NixOS 6 Generation /nix/store/ddd", "two initrds /nix/store/eee"}, titles); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
	const image = "sops-initrd/x"
	if err := m.SetInitrds(map[int]string{0: image, 1: image}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Boot0001": variable("NixOS 7 Generation", `init=/nix/store/ccc/init initrd=\sops-initrd\x quiet ü`),
		"Boot000A": variable("NixOS 6 Generation", `init=/nix/store/ddd/init initrd=\sops-initrd\x`+"\x00"),
	} {
		if got, err := os.ReadFile(filepath.Join(vars, name+guid)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if err := m.SetInitrds(map[int]string{2: image}); err == nil {
		t.Error("an entry with two initrds was changed")
	}
	none := &Menu{Kind: EFIStub, dir: m.dir}
	if err := none.addVariables(filepath.Join(dir, "none")); err != nil || len(none.Entries) > 0 {
		t.Errorf("without variables: %v, %d entries", err, len(none.Entries))
	}
}
