package vmtests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file boot through real boot loaders: two generations in the menu, which share
// their base, each with secrets of its own.

const generations = 2

// A loader that finds nothing to boot waits for somebody to come. On a busy machine GRUB needs a
// minute and more.
const loaderTimeout = 4 * time.Minute

// menu is what a loader is given: the base, and for each generation the base with a segment and the
// segment alone. The hooks of the generations made them, called as the loaders' installers call
// them.
type menu struct {
	*store
	kernel string
	whole  [generations + 1]string // an initrd that the hook was given a copy of the base as
	second [generations + 1]string // an initrd that the hook was given the name of a missing file for
}

func newMenu(t *testing.T, k vm.Kernel) *menu {
	t.Helper()
	m := &menu{store: newStore(t), kernel: k.Image}
	base, err := os.ReadFile(m.base)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= generations; i++ {
		m.whole[i], m.second[i] = writeImage(t, base), filepath.Join(t.TempDir(), "secrets")
		run(t, exec.Command(m.appender(i), m.whole[i]))
		run(t, exec.Command(m.appender(i), m.second[i]))
	}
	return m
}

const loaderCommandLine = "console=ttyS0 no_timer_check panic=-1 quiet"

// systemdBoot has one initrd for each generation, base and segment in one file, as NixOS's builder
// leaves it.
func (m *menu) systemdBoot(t *testing.T, chosen int) (disk string) {
	var esp vm.Tree
	esp.Copy("/EFI/BOOT/BOOTX64.EFI", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
	esp.Copy("/EFI/nixos/kernel.efi", m.kernel)
	esp.File("/loader/loader.conf", 0o644,
		fmt.Appendf(nil, "timeout 0\ndefault nixos-generation-%d.conf\n", chosen))
	for i := 1; i <= generations; i++ {
		esp.Copy(fmt.Sprintf("/EFI/nixos/%d-initrd.efi", i), m.whole[i])
		esp.File(fmt.Sprintf("/loader/entries/nixos-generation-%d.conf", i), 0o644, fmt.Appendf(nil,
			"title NixOS\nversion Generation %d\nlinux /EFI/nixos/kernel.efi\ninitrd "+
				"/EFI/nixos/%d-initrd.efi\noptions %s\n", i, i, loaderCommandLine))
	}
	return fatDisk(t, &esp)
}

// grub has one base for all and a second initrd for each generation.
func (m *menu) grub(t *testing.T, chosen int) (disk string) {
	config := fmt.Sprintf("set timeout=0\nset default=%d\nserial --unit=0\nterminal_output serial\n",
		chosen-1)
	var esp vm.Tree
	esp.Copy("/kernels/linux", m.kernel)
	esp.Copy("/kernels/initrd", m.base)
	for i := 1; i <= generations; i++ {
		esp.Copy(fmt.Sprintf("/kernels/%d-secrets", i), m.second[i])
		config += fmt.Sprintf("menuentry \"generation %d\" {\n  linux /kernels/linux %s\n  initrd "+
			"/kernels/initrd /kernels/%d-secrets\n}\n", i, loaderCommandLine, i)
	}
	esp.File("/grub/grub.cfg", 0o644, []byte(config))
	dir := t.TempDir()
	early := filepath.Join(dir, "early.cfg")
	if err := os.WriteFile(early, []byte("search --label ESP --set=root\nset prefix=($root)/grub\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	efi := filepath.Join(dir, "grub.efi")
	run(t, exec.Command("grub-mkimage", "-O", "x86_64-efi", "-o", efi, "-c", early, "-p", "/grub",
		"part_gpt", "fat", "normal", "linux", "search", "search_label", "configfile", "serial",
		"terminal", "echo"))
	esp.Copy("/EFI/BOOT/BOOTX64.EFI", efi)
	return fatDisk(t, &esp)
}

// extlinux boots from a BIOS, an ext4 without a partition table around it. Its installer wants the
// file system mounted.
func (m *menu) extlinux(t *testing.T, chosen int) (disk string) {
	config := fmt.Sprintf("SERIAL 0\nDEFAULT generation-%d\n", chosen)
	var root vm.Tree
	root.Copy("/boot/linux", m.kernel)
	for i := 1; i <= generations; i++ {
		root.Copy(fmt.Sprintf("/boot/%d-initrd", i), m.whole[i])
		config += fmt.Sprintf("LABEL generation-%d\n  LINUX /boot/linux\n  INITRD /boot/%d-initrd\n  "+
			"APPEND %s\n", i, i, loaderCommandLine)
	}
	root.File("/boot/extlinux.conf", 0o644, []byte(config))
	dir := t.TempDir()
	disk = filepath.Join(dir, "disk")
	if err := vm.MakeExt4(t.Context(), &root, disk, 64); err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mount", "-o", "loop", disk, mount))
	unmounted := false
	unmount := func() {
		if !unmounted {
			unmounted = true
			run(t, exec.Command("umount", mount))
		}
	}
	t.Cleanup(unmount)
	run(t, exec.Command("extlinux", "--install", filepath.Join(mount, "boot")))
	unmount()
	return disk
}

func fatDisk(t *testing.T, tree *vm.Tree) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "esp")
	if err := vm.MakeFAT(t.Context(), tree, file, 64); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoaders_eachGenerationItsSecrets(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.vfat", "mcopy", "mkfs.ext4", "grub-mkimage", "extlinux")
	m := newMenu(t, k)
	loaders := []struct {
		name, firmware string
		disk           func(t *testing.T, chosen int) string
		image          string // of a generation, on the disk
	}{
		{"systemd-boot", "uefi", m.systemdBoot, "/EFI/nixos/%d-initrd.efi"},
		{"GRUB", "uefi", m.grub, "/kernels/%d-secrets"},
		{"extlinux", "bios", m.extlinux, "/boot/%d-initrd"},
	}
	for _, l := range loaders {
		for chosen := 1; chosen <= generations; chosen++ {
			t.Run(fmt.Sprintf("%s, generation %d", l.name, chosen), func(t *testing.T) {
				if l.name == "extlinux" && os.Geteuid() != 0 {
					unavailable(t, "extlinux --install needs a mount, so root")
				}
				disk := l.disk(t, chosen)
				rep := boot(t, vm.Machine{
					Kernel: k, Firmware: l.firmware, Memory: 512, Args: vm.Virtio(disk),
					Timeout: loaderTimeout,
				})
				wantConsole(t, rep, lost, false)
				expect(t, rep, map[string]string{luksKey: regular(0o400, 0, 0, m.value(chosen))})

				extents := vm.FATExtents
				if l.firmware == "bios" {
					extents = vm.Ext4Extents
				}
				var installed []vm.Extent
				for i := 1; i <= generations; i++ {
					image, err := extents(t.Context(), disk, fmt.Sprintf(l.image, i))
					if err != nil {
						t.Fatal(err)
					}
					installed = append(installed, image...)
				}
				noPlaintext(t, disk, m.planted(), installed...)
			})
		}
	}
}
