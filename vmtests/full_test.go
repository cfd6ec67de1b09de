package vmtests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// A boot partition is vfat, and full: package initrd's own tests of every amount of room, and of
// names, run on the kernel's own vfat, with clusters of one sector.
func TestFullDisk_vfat(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.vfat", "fsck.vfat")
	tests := filepath.Join(t.TempDir(), "initrd.test")
	build := exec.Command("go", "test", "-c", "-o", tests, "../initrd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	disk := filepath.Join(t.TempDir(), "disk")
	run(t, exec.Command("mkfs.vfat", "-F", "16", "-s", "1", "-C", disk, "4096"))
	step := 11 * 512
	if long() {
		step = 512
	}

	root := &vm.Tree{}
	root.Busybox()
	modules, err := k.AddModules(root, "virtio_pci", "virtio_blk", "vfat", "nls_ascii", "nls_cp437",
		"nls_iso8859-1")
	if err != nil {
		t.Fatal(err)
	}
	root.Copy("/initrd.test", tests)
	script := vm.Prelude
	for _, m := range modules {
		script += "insmod " + m + "\n"
	}
	root.File("/init", 0o755, []byte(script+fmt.Sprintf(`
mkdir -p /mnt /tmp
mount -t vfat /dev/vda /mnt || result mount fail
export INITRD_TEST_FULL=/mnt:%d
if /initrd.test -test.v -test.run '^TestInstall_(full|names)_named$' > /tmp/out 2>&1; then result full ok; else result full fail; fi
cat /tmp/out
if out=$(dmesg | grep -i 'fat-fs.*error'); then result kernel fail "$out"; fi
umount /mnt
finish
`, step)))
	rep := boot(t, vm.Machine{
		Kernel: k, Initrd: writeImage(t, archive(t, root)), Memory: 512,
		Args: []string{
			"-drive", "format=raw,if=none,id=d,file=" + disk, "-device",
			"virtio-blk-pci,drive=d",
		},
	})
	for _, failed := range rep.Failed("full") {
		t.Error(failed)
	}
	for _, outcome := range []string{
		"created in place=false", "appended in place=true",
		"appended in place=false", "replaced in place=true", "repaired in place=true", "no space",
		"--- PASS: TestInstall_names_named",
	} {
		wantConsole(t, rep, outcome, true)
	}
	run(t, exec.Command("fsck.vfat", "-n", disk))
}
