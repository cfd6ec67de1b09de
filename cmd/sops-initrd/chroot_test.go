package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// What nixos-install does, re-enacted: the boot loader of a system in /mnt is installed by its
// own programs, with /mnt as their root, the boot partition mounted below, TMPDIR unset. There
// is no key on the new machine yet; later there is.
func TestFreshInstall_inAChroot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for chroot and mounts")
	}
	h := newHost(t)
	root := h.path("mnt")
	for _, dir := range []string{"boot", "usr", "proc", "dev", "tmp", "var/lib", "etc/ssh", "store"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []struct{ source, target, kind string }{{"/usr", "usr", ""}, {
		"/dev", "dev",
		"",
	}, {"proc", "proc", "proc"}, {"tmpfs", "boot", "tmpfs"}} {
		flags := uintptr(0)
		if m.kind == "" {
			flags = unix.MS_BIND
		}
		target := filepath.Join(root, m.target)
		if err := unix.Mount(m.source, target, m.kind, flags, ""); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("mount %s: %v", m.target, err)
			}
			t.Skipf("mount %s: %v", m.target, err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	for _, dir := range []string{"lib", "lib64", "bin"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(root, "store", program),
		".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.encrypt("mnt/store/s.json", map[string]string{"luks": "value"})
	h.manifest("mnt/store/manifest.json", "/store/s.json", []string{"luks"})
	text := strings.ReplaceAll(string(h.read("mnt/store/manifest.json")), h.path("key.txt"),
		"/etc/ssh/key.txt")
	h.write("mnt/store/manifest.json", text)
	base, err := compressedArchive(1000)
	if err != nil {
		t.Fatal(err)
	}
	h.write("mnt/store/initrd", string(base))
	h.write("mnt/boot/image", string(base))

	inside := func(status int, args ...string) string {
		t.Helper()
		cmd := exec.Command("/store/"+program, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir, cmd.Env = "/", []string{"IN_NIXOS_ENTER=1", "PATH=/usr/bin"}
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != status {
			t.Fatalf("%q: exit status %d, want %d: %v\n%s", args, got, status, err, out)
		}
		return string(out)
	}
	install := func(status int, more ...string) string {
		t.Helper()
		args := append([]string{
			"append", "--manifest", "/store/manifest.json", "--base",
			"/store/initrd",
		}, more...)
		return inside(status, append(args, "/boot/image")...)
	}
	h.freshLoader(inside)
	if out := install(cli.Failed); !strings.Contains(out, "put its key in place first") ||
		!bytes.Equal(h.read("mnt/boot/image"), base) {
		t.Errorf("without a key: %s", out)
	}
	if out := install(cli.Done, "--when-no-key=skip"); !strings.Contains(out,
		"NOT PROVISIONED: /boot/image") || !bytes.Equal(h.read("mnt/boot/image"), base) {
		t.Errorf("without a key, to be skipped: %s", out)
	}
	h.write("mnt/etc/ssh/key.txt", testIdentity+"\n")
	install(cli.Done, "--when-no-key=skip")
	if n, _ := h.segments(h.path("mnt/boot/image")); n != 1 {
		t.Errorf("%d segments after the key came", n)
	}
	if _, err := os.Stat(h.path("mnt/var/lib/sops-initrd")); err != nil {
		t.Errorf("no record in the new system: %v", err)
	}
	// From outside, the same image is the one of the same manifest: paths do not matter.
	outside := strings.ReplaceAll(text, "/store/", h.path("mnt/store")+"/")
	h.write("outside.json", outside)
	h.run(cli.Done, "verify", "--manifest", h.path("outside.json"), h.path("mnt/boot/image"))
}

// freshLoader does the same with a loader whose installer knows nothing of secrets: there is no
// key yet, so the entry has no secrets, which is said and shown.
func (h host) freshLoader(inside func(status int, args ...string) string) {
	h.Helper()
	h.write("mnt/store/system/initrd", string(h.read("mnt/store/initrd")))
	h.write("mnt/store/manifest/manifest.json", string(h.read("mnt/store/manifest.json")))
	h.write("mnt/store/manifest/append-initrd-secrets", "#!/bin/sh\nexec "+
		"/store/"+program+` append --manifest /store/manifest/manifest.json --base /store/initrd --when-no-key skip -- "$1"`+"\n")
	h.write("mnt/store/installer", "#!/bin/sh\nmkdir -p /boot/extlinux /boot/nixos && cp "+
		"/store/initrd /boot/nixos/initrd && "+
		`printf 'LABEL default\n  LINUX ../nixos/kernel\n  INITRD ../nixos/initrd\n  APPEND init=/store/system/init\n' > /boot/extlinux/extlinux.conf`+"\n")
	err := errors.Join(os.Chmod(h.path("mnt/store/manifest/append-initrd-secrets"), 0o755),
		os.Chmod(h.path("mnt/store/installer"), 0o755),
		os.Symlink("../manifest/append-initrd-secrets", h.path("mnt/store/system/append-initrd-secrets")))
	if err != nil {
		h.Fatal(err)
	}
	loader := func(status int, more ...string) string {
		h.Helper()
		return inside(status, append(append([]string{"install-loader", "--loader", "extlinux"},
			more...), "--", "/store/installer", "/store/system")...)
	}
	if out := loader(cli.Failed); !strings.Contains(out, "put its key in place first") ||
		!strings.Contains(out, "the boot loader was not touched") {
		h.Errorf("without a key: %s", out)
	}
	if out := loader(cli.Done, "--when-no-key", "skip"); !strings.Contains(out, "NOT PROVISIONED") {
		h.Errorf("without a key, to be skipped: %s", out)
	}
	if out := inside(cli.Failed, "status"); !strings.Contains(out, "NOT PROVISIONED") {
		h.Errorf("status: %s", out)
	}
	key := h.write("mnt/etc/ssh/key.txt", testIdentity+"\n")
	loader(cli.Done, "--when-no-key", "skip")
	if out := inside(cli.Done, "status"); !strings.Contains(out, "whole") {
		h.Errorf("status: %s", out)
	}
	if err := errors.Join(os.Remove(key),
		os.RemoveAll(h.path("mnt/var/lib/sops-initrd"))); err != nil {
		h.Fatal(err)
	}
}
