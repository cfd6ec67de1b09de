package vmtests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// systemdRoot is a root file system whose PID 1 is Debian's systemd as it comes in its packages: a
// journal, users, temporary files, and whatever the caller has multi-user.target want.
func systemdRoot(t *testing.T) *vm.Tree {
	t.Helper()
	s := testSysroot(t)
	tree := &vm.Tree{}
	targets := "basic local-fs local-fs-pre multi-user sysinit sockets paths slices timers swap " +
		"umount shutdown final poweroff reboot " +
		"emergency rescue network network-pre"
	for unit := range strings.FieldsSeq(targets) {
		s.Add(tree, "/lib/systemd/system/"+unit+".target")
	}
	for unit := range strings.FieldsSeq("journald tmpfiles-setup tmpfiles-setup-dev sysusers " +
		"poweroff reboot") {
		s.Add(tree, "/lib/systemd/system/systemd-"+unit+".service")
	}
	s.Add(tree, "/lib/systemd/system/systemd-journald*.socket", "/lib/systemd/systemd",
		"/lib/systemd/systemd-journald",
		"/lib/systemd/systemd-shutdown", "/lib/systemd/system-generators/systemd-fstab-generator",
		"/usr/lib/sysusers.d/basic.conf", "/usr/lib/sysusers.d/systemd-journal.conf",
		"/usr/lib/tmpfiles.d/systemd.conf",
		"/bin/systemctl", "/bin/systemd-tmpfiles", "/bin/systemd-sysusers", "/bin/journalctl",
		"/bin/mount", "/bin/umount")
	tree.Busybox()
	wanted := map[string]string{
		"sockets": "systemd-journald.socket systemd-journald-dev-log.socket",
		"sysinit": "systemd-journald.service systemd-tmpfiles-setup.service " +
			"systemd-tmpfiles-setup-dev.service systemd-sysusers.service",
	}
	for target, units := range wanted {
		for unit := range strings.FieldsSeq(units) {
			tree.Link("/etc/systemd/system/"+target+".target.wants/"+unit, "/lib/systemd/system/"+unit)
		}
	}
	tree.Link("/usr/sbin/init", "../lib/systemd/systemd")
	tree.Link("/etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")
	tree.File("/etc/os-release", 0o644, []byte("ID=test\nVERSION_ID=1\nPRETTY_NAME=Test\n"))
	tree.File("/etc/machine-id", 0o644, []byte("0123456789abcdef0123456789abcdef\n"))
	tree.File("/etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nshadow: files\n"))
	for _, dir := range []string{
		"/proc", "/sys", "/dev", "/run", "/tmp", "/nix", "/boot", "/var/log",
		"/root",
	} {
		tree.Dir(dir, 0o755)
	}
	return tree
}

// probe has target want a script that looks around when the unit after was started, and ends the
// guest.
func probe(tree *vm.Tree, target, after, script string) {
	// The part of the prelude that mounts is done by systemd here.
	_, functions, _ := strings.Cut(vm.Prelude, "dmesg -n 1\n")
	tree.File("/probe", 0o755,
		[]byte("#!/bin/busybox sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\ndmesg -n 1\n"+
			functions+script+"\nfinish\n"))
	installUnit(tree, "probe.service", hostUnit{
		Text: "[Unit]\nAfter=" + after + "\n[Service]\nType=oneshot\nExecStart=/probe\n" +
			"StandardOutput=file:/dev/console\nStandardError=file:/dev/console\n",
		WantedBy: []string{target},
	})
}

// installUnit adds a unit as NixOS does: its text, and a link in the directory of each unit that
// wants it.
func installUnit(tree *vm.Tree, name string, u hostUnit) {
	tree.File("/etc/systemd/system/"+name, 0o644, []byte(u.Text))
	for _, by := range u.WantedBy {
		tree.Link(fmt.Sprintf("/etc/systemd/system/%s.wants/%s", by, name), "../"+name)
	}
}
