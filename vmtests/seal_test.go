package vmtests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/seal"
	"github.com/sops-initrd/sops-initrd/internal/test/swtpm"
	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

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
	unit(tree, "sops-initrd-unseal.service", readHost(t).UnsealUnit.Text)
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

// sealedImage is the stage 1 with files sealed to the TPM: there, or elsewhere with its public key.
func sealedImage(t *testing.T, s *swtpm.TPM, format seal.Format, elsewhere bool, stageOne *vm.Tree,
	files ...seal.File,
) string {
	t.Helper()
	tpm, err := seal.Dial(t.Context(), s.Device())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tpm.Close() }()
	var text []byte
	if elsewhere {
		key, err := tpm.PublicKey(format)
		if err != nil {
			t.Fatal(err)
		}
		text, err = seal.SealFor(key, seal.Options{Name: "sops-initrd"}, seal.Tmpfiles(files))
		if err != nil {
			t.Fatal(err)
		}
	} else if text, err = seal.Seal(tpm, seal.Options{Name: "sops-initrd", Format: format},
		seal.Tmpfiles(files)); err != nil {
		t.Fatal(err)
	}
	segment, err := initrd.NewSegment([]initrd.Entry{{
		Path: "/.extra/credentials/sops-initrd.cred", Mode: 0o400, Data: text,
	}}, initrd.Digest{}, initrd.Profile{})
	if err != nil {
		t.Fatal(err)
	}
	image := writeImage(t, compress(t, "zstd", archive(t, stageOne)))
	if _, err := initrd.Install(t.Context(), image, segment, initrd.Options{}); err != nil {
		t.Fatal(err)
	}
	return image
}

// sealedMachine boots the image. It waits for a device as long as it is told to, so that a boot
// that waits for a TPM that is not there does not come to its end.
func sealedMachine(k vm.Kernel, image, root string, args []string) vm.Machine {
	return vm.Machine{
		Kernel: k, Memory: 768, Initrd: image, Args: args,
		Append: "root=" + root + " rootfstype=ext4 rw fsck.mode=skip systemd.show_status=1 " +
			"systemd.default_device_timeout_sec=infinity " +
			"systemd.log_target=console systemd.log_level=notice",
	}
}

// lookUnit has stage 1 print what a command says, after everything was unsealed.
func lookUnit(command string) string {
	return `[Unit]
DefaultDependencies=no
After=sops-initrd-unseal.service
Before=initrd.target
[Service]
Type=oneshot
StandardOutput=file:/dev/console
ExecStart=/bin/busybox sh -c '` + command + "'\n"
}

func TestSeal_LUKS(t *testing.T) {
	k := testKernel(t)
	need(t, "cryptsetup", "mkfs.ext4", "swtpm")
	key := append(secretFile(4090), "\n\x00\nab\x00"...)
	disk := markedRoot(t, key)
	hostKey := newSSHKey(t).private
	for _, c := range []struct {
		version   string
		format    seal.Format
		elsewhere bool
	}{{"257", seal.TPM2, false}, {"262", seal.TPM2SRK, false}, {"257", seal.TPM2, true}} {
		name := c.version
		if c.elsewhere {
			name += " sealed elsewhere"
		}
		t.Run(name, func(t *testing.T) {
			stageOne := sealingStageOne(t, c.version, k)
			stageOne.File("/etc/crypttab", 0o600,
				[]byte("root /dev/vda /etc/luks.key luks,x-initrd.attach\n"))
			unit(stageOne, "look.service",
				lookUnit("stat -c %%a:%%u:%%g /etc/ssh/host_key; sha256sum /etc/ssh/host_key"))
			s := swtpm.New(t)
			image := sealedImage(t, s, c.format, c.elsewhere, stageOne,
				seal.File{Path: "/etc/luks.key", Mode: 0o400, Data: key},
				seal.File{Path: "/etc/ssh/host_key", Mode: 0o440, GID: 5, Data: hostKey})
			m := sealedMachine(k, image, "/dev/mapper/root", append(vm.Virtio(disk), guestTPM(t, s)...))
			rep := boot(t, m)
			expect(t, rep,
				map[string]string{"/marker": regular(0o600, 0, 0, []byte("of the encrypted root"))})
			wantConsole(t, rep, "440:0:5", true)
			wantConsole(t, rep, fmt.Sprintf("%x", sha256.Sum256(hostKey)), true)
			data, _ := os.ReadFile(image)
			for _, planted := range [][]byte{key[:64], hostKey[100:160]} {
				if bytes.Contains(data, planted) {
					t.Error("a value is in the image")
				}
			}
		})
	}
}

// Where the TPM does not open what is sealed, stage 1 says so by name, holds nothing up, and has no
// file.
func TestSeal_refused(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.ext4", "swtpm")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := vm.MakeExt4(t.Context(), markedTree(), disk, 16); err != nil {
		t.Fatal(err)
	}
	value := secretFile(64)
	for version, format := range map[string]seal.Format{"257": seal.TPM2, "262": seal.TPM2SRK} {
		for _, day := range []string{"another TPM", "TPM in lockout", "no TPM"} {
			if day == "no TPM" && version != "257" {
				continue // as 257
			}
			t.Run(version+" "+day, func(t *testing.T) {
				stageOne := sealingStageOne(t, version, k)
				unit(stageOne, "look.service",
					lookUnit("test -e /etc/value && echo VALUE THERE || echo VALUE MISSING"))
				s := swtpm.New(t)
				image := sealedImage(t, s, format, false, stageOne,
					seal.File{Path: "/etc/value", Mode: 0o400, Data: value})
				var args []string
				opens := false
				switch day {
				case "another TPM":
					s.Replace(t)
					args = guestTPM(t, s)
				case "TPM in lockout":
					s.Lock(t, func() { useTPM(t, s) })
					opens = format == seal.TPM2SRK // the storage root key is exempt
					args = guestTPM(t, s)
				}
				rep := boot(t, sealedMachine(k, image, "/dev/vda", append(vm.Virtio(disk), args...)))
				expect(t, rep,
					map[string]string{"/marker": regular(0o600, 0, 0, []byte("of the encrypted root"))})
				wantConsole(t, rep, "VALUE THERE", opens)
				wantConsole(t, rep, "VALUE MISSING", !opens)
				wantConsole(t, rep, "status=243/CREDENTIALS", !opens)
				wantConsole(t, rep, string(value), false)
			})
		}
	}
}

// useTPM uses something that the TPM protects, so that a power cut behind it counts.
func useTPM(t *testing.T, s *swtpm.TPM) {
	t.Helper()
	tpm, err := seal.Dial(t.Context(), s.Device())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tpm.Close() }()
	// In the end the TPM refuses this.
	_, _ = seal.Seal(tpm, seal.Options{Name: "x", Format: seal.TPM2}, []byte("x"))
}
