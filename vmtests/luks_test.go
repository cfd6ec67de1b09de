package vmtests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// scriptedStageOne copies the secrets as NixOS's scripted stage 1 does and opens the disk with the
// key file.
func scriptedStageOne(t *testing.T, k vm.Kernel) *vm.Tree {
	t.Helper()
	root := guestRoot(k, `
for m in $(cat /modules/order); do insmod $m || result $m fail; done
mount -t tmpfs run /run
mkdir -p /run/cryptsetup /sysroot
if [ -d /.initrd-secrets ]; then
  cd /.initrd-secrets
  find . -type f | while read -r f; do mkdir -p "$(dirname "/$f")"; cp "$f" "/$f"; done
  cd /
fi
if [ ! -e /etc/luks.key ]; then result disk ok "no key"
elif cryptsetup open --key-file /etc/luks.key /dev/vda root && mount /dev/mapper/root /sysroot; then result disk ok open
else result disk ok closed; fi
describe /sysroot/marker`)
	k.AddProgram(root, "cryptsetup")
	modules, err := k.AddModules(root, "virtio_pci", "virtio_blk", "dm-mod", "dm-crypt", "ecb", "xts")
	if err != nil {
		t.Fatal(err)
	}
	root.File("/modules/order", 0o644, []byte(strings.Join(modules, "\n")))
	return root
}

func TestLUKS_scriptedStageOne(t *testing.T) {
	onKernels(t, scriptedLUKS)
}

func scriptedLUKS(t *testing.T, k vm.Kernel, all bool) {
	need(t, "cryptsetup", "mkfs.ext4")
	key := append(secretFile(4090), "\n\x00\nab\x00"...)
	disk := filepath.Join(t.TempDir(), "disk")
	var content vm.Tree
	content.File("/marker", 0o600, []byte("of the encrypted root"))
	if err := vm.MakeExt4(t.Context(), &content, disk, 8); err != nil {
		t.Fatal(err)
	}
	if err := vm.EncryptDisk(t.Context(), disk, key); err != nil {
		t.Fatal(err)
	}
	base := compress(t, "zstd", archive(t, scriptedStageOne(t, k)))
	cases := []struct {
		name, disk, marker string
		key                []byte
	}{
		{"key of the disk", "open", regular(0o600, 0, 0, []byte("of the encrypted root")), key},
		{"key cut at its first newline", "closed", "missing", key[:4090]},
		{"no secret", "no key", "missing", nil},
	}
	if !all {
		cases = cases[:1]
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			image := writeImage(t, base)
			if c.key != nil {
				if err := provide(t, image, "/etc/luks.key", "0400", c.key, true); err != nil {
					t.Fatal(err)
				}
			}
			rep := boot(t, vm.Machine{Kernel: k, Initrd: image, Args: vm.Virtio(disk)})
			expect(t, rep, map[string]string{"disk": c.disk, "/sysroot/marker": c.marker})
		})
	}
	noPlaintext(t, disk, map[string][]byte{"key": key})
}
