package vmtests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/seal"
	"github.com/sops-initrd/sops-initrd/internal/test/swtpm"
	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// unsealUnit is what the module adds to stage 1.
const unsealUnit = `[Unit]
Description=Open the sealed secrets of the initrd (sops-initrd)
DefaultDependencies=no
After=tpm2.target initrd-nixos-copy-secrets.service
Before=cryptsetup-pre.target network-pre.target systemd-networkd.service sshd.service shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
LoadCredentialEncrypted=sops-initrd
ExecStart=systemd-tmpfiles --create ${CREDENTIALS_DIRECTORY}/sops-initrd
`

// sealingStageOne is a stage 1 of a systemd that opens credentials, of the version named.
func sealingStageOne(t *testing.T, version string, k vm.Kernel) *vm.Tree {
	t.Helper()
	cache, err := vm.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s := vm.Sysroot(filepath.Join(cache, map[string]string{
		"257": "systemd-trixie",
		"262": "systemd-sid",
	}[version]))
	if _, err := os.Stat(string(s)); err != nil {
		unavailable(t, "%v (scripts/setup unpacks it)", err)
	}
	tree := stageOneFrom(t, s, k)
	s.Add(tree, "/lib/systemd/systemd-executor", "/lib/systemd/system/tpm2.target",
		"/bin/systemd-creds",
		"/lib/x86_64-linux-gnu/libtss2-*.so*", "/lib/x86_64-linux-gnu/libcrypto*.so*",
		"/lib/x86_64-linux-gnu/libcryptsetup.so*",
		"/lib/x86_64-linux-gnu/libmount.so*", "/lib/x86_64-linux-gnu/libblkid.so*",
		"/lib/x86_64-linux-gnu/libkmod.so*", "/lib/udev/rules.d/60-tpm*.rules")
	unit(tree, "sops-initrd-unseal.service", unsealUnit)
	return tree
}

// guestTPM has a virtual machine use a TPM, which must not be running elsewhere.
func guestTPM(t *testing.T, s *swtpm.TPM) []string {
	t.Helper()
	s.Stop(t)
	socket := filepath.Join(t.TempDir(), "tpm")
	//nolint:gosec // a test's own
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+s.Dir, "--ctrl",
		"type=unixio,path="+socket, "--terminate")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return []string{
		"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev",
		"emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0",
	}
}

func TestSeal_LUKS(t *testing.T) {
	k := testKernel(t)
	need(t, "cryptsetup", "mkfs.ext4", "swtpm")
	key := append(secretFile(4090), "\n\x00\nab\x00"...)
	disk := markedRoot(t, key)
	for version, format := range map[string]seal.Format{"257": seal.TPM2, "262": seal.TPM2SRK} {
		t.Run(version, func(t *testing.T) {
			stageOne := sealingStageOne(t, version, k)
			stageOne.File("/etc/crypttab", 0o600,
				[]byte("root /dev/vda /etc/luks.key luks,x-initrd.attach\n"))
			base := compress(t, "zstd", archive(t, stageOne))
			s := swtpm.New(t)
			tpm, err := seal.Dial(t.Context(), s.Device())
			if err != nil {
				t.Fatal(err)
			}
			text, err := seal.Seal(tpm, seal.Options{Name: "sops-initrd", Format: format},
				seal.Tmpfiles([]seal.File{{Path: "/etc/luks.key", Mode: 0o400, Data: key}}))
			if err != nil {
				t.Fatal(err)
			}
			_ = tpm.Close()
			segment, err := initrd.NewSegment([]initrd.Entry{{
				Path: "/.extra/credentials/sops-initrd.cred",
				Mode: 0o400, Data: text,
			}}, initrd.Digest{}, initrd.Profile{})
			if err != nil {
				t.Fatal(err)
			}
			image := writeImage(t, base)
			if _, err := initrd.Install(t.Context(), image, segment, initrd.Options{}); err != nil {
				t.Fatal(err)
			}
			m := vm.Machine{
				Kernel: k, Memory: 768, Initrd: image, Args: append(vm.Virtio(disk), guestTPM(t, s)...),
				Append: "root=/dev/mapper/root rootfstype=ext4 rw fsck.mode=skip systemd.show_status=1 " +
					"systemd.log_target=console systemd.log_level=notice",
			}
			rep := boot(t, m)
			expect(t, rep,
				map[string]string{"/marker": regular(0o600, 0, 0, []byte("of the encrypted root"))})
			if t.Failed() {
				t.Log(rep.Console)
			}
			data, _ := os.ReadFile(image)
			if strings.Contains(string(data), string(key[:64])) {
				t.Error("the key is in the image")
			}
		})
	}
}
