package vmtests

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

func testSysroot(t *testing.T) vm.Sysroot {
	t.Helper()
	s, err := vm.FindSysroot()
	if err != nil {
		unavailable(t, "%v (scripts/setup unpacks a userland for guests)", err)
	}
	return s
}

// copySecrets is the unit that NixOS has in its systemd stage 1 for what lies below
// /.initrd-secrets.
const copySecrets = `[Unit]
Description=Copy secrets into place
DefaultDependencies=no
ConditionPathIsDirectory=/.initrd-secrets
Before=cryptsetup-pre.target systemd-networkd.service shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/busybox sh -c 'cd /.initrd-secrets && for s in $(find . -type f -o -type l); do mkdir -p "$(dirname "/$s")"; cp "$s" "/$s"; done'
`

// loadModules stands for what udev and kmod would do from a module index, which unpacked packages
// do not have.
const loadModules = `[Unit]
DefaultDependencies=no
Before=sysinit.target systemd-udevd.service cryptsetup-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/busybox sh -c 'dmesg -n 1; for m in $(cat /modules/order); do insmod $m; done'
`

// systemdStageOne is an initrd of Debian's systemd as it comes in its packages, with cryptsetup and
// the two units above.
func systemdStageOne(t *testing.T, k vm.Kernel, extraModules ...string) *vm.Tree {
	t.Helper()
	return stageOneFrom(t, testSysroot(t), k, extraModules...)
}

func stageOneFrom(t *testing.T, s vm.Sysroot, k vm.Kernel, extraModules ...string) *vm.Tree {
	t.Helper()
	tree := &vm.Tree{}
	units := "basic cryptsetup-pre cryptsetup emergency final initrd initrd-fs initrd-root-device " +
		"initrd-root-fs initrd-switch-root " +
		"initrd-usr-fs local-fs-pre local-fs network network-pre paths poweroff reboot remote-fs-pre " +
		"remote-fs rescue shutdown slices " +
		"sockets swap sysinit timers umount"
	for unit := range strings.FieldsSeq(units) {
		s.Add(tree, "/lib/systemd/system/"+unit+".target")
	}
	services := "initrd-cleanup initrd-parse-etc initrd-switch-root initrd-udevadm-cleanup-db " +
		"systemd-ask-password-console " +
		"systemd-fsck-root systemd-fsck@ systemd-journald systemd-poweroff systemd-reboot " +
		"systemd-tmpfiles-setup-dev systemd-tmpfiles-setup " +
		"systemd-udev-trigger systemd-udevd kmod-static-nodes"
	for unit := range strings.FieldsSeq(services) {
		s.Add(tree, "/lib/systemd/system/"+unit+".service")
	}
	s.Add(tree, "/lib/systemd/system/systemd-journald*.socket",
		"/lib/systemd/system/systemd-udevd*.socket",
		"/lib/systemd/system/systemd-ask-password-console.path",
		"/lib/systemd/system/system-systemd*.slice",
		"/lib/systemd/systemd", "/lib/systemd/systemd-cryptsetup", "/lib/systemd/systemd-journald",
		"/lib/systemd/systemd-udevd",
		"/lib/systemd/systemd-shutdown", "/lib/systemd/systemd-sysroot-fstab-check",
		"/lib/systemd/systemd-fsck", "/lib/systemd/systemd-makefs",
		"/lib/systemd/systemd-reply-password",
		"/lib/systemd/system-generators/systemd-cryptsetup-generator",
		"/lib/systemd/system-generators/systemd-fstab-generator",
		"/bin/systemctl", "/bin/udevadm", "/bin/systemd-tmpfiles", "/bin/systemd-tty-ask-password-agent",
		"/bin/journalctl", "/bin/mount", "/bin/umount",
		"/sbin/dmsetup", "/lib/udev/rules.d/50-udev-default.rules", "/lib/udev/rules.d/55-dm.rules",
		"/lib/udev/rules.d/60-persistent-storage*.rules", "/lib/udev/rules.d/60-block.rules",
		"/lib/udev/rules.d/95-dm-notify.rules",
		"/lib/udev/rules.d/99-systemd.rules")
	tree.Busybox()
	for _, name := range []string{
		"systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
		"systemd-journald.socket", "systemd-journald-dev-log.socket",
	} {
		tree.Link("/etc/systemd/system/sockets.target.wants/"+name, "/lib/systemd/system/"+name)
	}
	for _, name := range []string{
		"systemd-udevd.service", "systemd-udev-trigger.service",
		"systemd-journald.service", "cryptsetup.target", "systemd-ask-password-console.path",
	} {
		tree.Link("/etc/systemd/system/sysinit.target.wants/"+name, "/lib/systemd/system/"+name)
	}
	unit(tree, "initrd-nixos-copy-secrets.service", copySecrets)
	unit(tree, "load-modules.service", loadModules)
	tree.File("/etc/initrd-release", 0o644, []byte("ID=test\nVERSION_ID=1\nPRETTY_NAME=Test\n"))
	tree.File("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\n"))
	tree.File("/etc/group", 0o644,
		[]byte("root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\nkvm:x:104:\ninput:x:105:\n"+
			"render:x:106:\naudio:x:29:\nvideo:x:44:\nlp:x:7:\n"+
			"dialout:x:20:\ncdrom:x:24:\ntape:x:26:\nsgx:x:107:\n"))
	tree.File("/etc/machine-id", 0o644, []byte("0123456789abcdef0123456789abcdef\n"))
	tree.Link("/init", "lib/systemd/systemd")
	tree.Link("/etc/systemd/system/default.target", "/lib/systemd/system/initrd.target")
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/sysroot", "/var/log"} {
		tree.Dir(dir, 0o755)
	}
	modules, err := k.AddModules(tree,
		append([]string{"virtio_pci", "virtio_blk", "dm-mod", "dm-crypt", "ecb", "xts"},
			extraModules...)...)
	if err != nil {
		t.Fatal(err)
	}
	tree.File("/modules/order", 0o644, []byte(strings.Join(modules, "\n")))
	return tree
}

// unit adds a unit that sysinit.target wants.
func unit(tree *vm.Tree, name, text string) {
	tree.File("/etc/systemd/system/"+name, 0o644, []byte(text))
	tree.Link("/etc/systemd/system/sysinit.target.wants/"+name, "../"+name)
}

// markedTree is a root file system that shows its marker, with an init of its own.
func markedTree() *vm.Tree {
	root := busyboxRoot("describe /marker")
	root.File("/sbin/init", 0o755, []byte(vm.Prelude+"describe /marker\nfinish\n"))
	root.File("/marker", 0o600, []byte("of the encrypted root"))
	root.File("/etc/os-release", 0o644, []byte("ID=test\n"))
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp"} {
		root.Dir(dir, 0o755)
	}
	return root
}

// markedRoot is a disk whose root, which key opens, says what is in it and ends.
func markedRoot(t *testing.T, key []byte) (disk string) {
	t.Helper()
	disk = filepath.Join(t.TempDir(), "disk")
	if err := vm.MakeExt4(t.Context(), markedTree(), disk, 16); err != nil {
		t.Fatal(err)
	}
	if err := vm.EncryptDisk(t.Context(), disk, key); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestLUKS_systemdStageOne(t *testing.T) {
	k := testKernel(t)
	need(t, "cryptsetup", "mkfs.ext4")
	key := append(secretFile(4090), "\n\x00\nab\x00"...)
	disk := markedRoot(t, key)
	stageOne := systemdStageOne(t, k)
	stageOne.File("/etc/crypttab", 0o600, []byte("root /dev/vda /etc/luks.key luks,x-initrd.attach\n"))
	base := compress(t, "zstd", archive(t, stageOne))
	machine := vm.Machine{
		Kernel: k, Memory: 512, Args: vm.Virtio(disk),
		Append: "root=/dev/mapper/root rootfstype=ext4 rw fsck.mode=skip systemd.show_status=0 " +
			"systemd.log_target=console systemd.log_level=notice",
	}
	t.Run("key file", func(t *testing.T) {
		m := machine
		m.Initrd = writeImage(t, base)
		if err := provide(t, m.Initrd, "/etc/luks.key", "0400", key, true); err != nil {
			t.Fatal(err)
		}
		rep := boot(t, m)
		expect(t, rep,
			map[string]string{"/marker": regular(0o600, 0, 0, []byte("of the encrypted root"))})
	})
	t.Run("no secret", func(t *testing.T) {
		const prompt = "Please enter passphrase for disk root"
		m := machine
		m.Initrd = writeImage(t, base)
		m.Timeout = 90 * time.Second
		m.Until = prompt
		rep, err := m.Boot(t.Context())
		if err != nil && !errors.Is(err, vm.ErrTimeout) {
			t.Fatal(err)
		}
		wantConsole(t, rep, prompt, true)
		wantConsole(t, rep, "RESULT /marker", false)
		if t.Failed() {
			t.Log(rep.Console)
		}
	})
	noPlaintext(t, disk, map[string][]byte{"key": key})
}
