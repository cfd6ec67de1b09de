package vmtests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// store is a scratch store with a system for each generation: all have the initrd base, and each
// has an appender as the NixOS module makes it, which puts a value of the generation's own sops
// file into an image.
type store struct {
	dir     string
	program string // sops-initrd
	base    string // the pristine initrd of all systems
	state   string
}

// luksKey is where stage 1 finds the value.
const luksKey = "/.initrd-secrets/etc/luks.key"

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{dir: t.TempDir(), program: program(t, "sops-initrd")}
	s.state = filepath.Join(s.dir, "state")
	s.base = writeImage(t, compress(t, "zstd", archive(t, busyboxRoot("describe "+luksKey))))
	key := filepath.Join(s.dir, "key.txt")
	writeFile(t, key, 0o600,
		[]byte("AGE-SECRET-KEY-16M0N0NX0LR7053SNXLXA8HFME07Q7P4SFKZ7WRYV6Z0H640PN76SS5P37M\n"))
	for i := 1; i <= generations; i++ {
		s.generation(t, key, i)
	}
	return s
}

func (s *store) system(i int) string {
	return filepath.Join(s.dir, "store", fmt.Sprintf("system-%d", i))
}

func (s *store) value(i int) []byte { return fmt.Appendf(nil, "key of generation %d", i) }

// planted are the values that no disk may hold, outside installed images.
func (s *store) planted() map[string][]byte {
	values := map[string][]byte{}
	for i := 1; i <= generations; i++ {
		values[fmt.Sprintf("generation %d", i)] = s.value(i)
	}
	return values
}

// appender is the hook of a generation, as its system names it.
func (s *store) appender(i int) string {
	return filepath.Join(s.system(i), "append-initrd-secrets")
}

func (s *store) generation(t *testing.T, key string, i int) {
	t.Helper()
	made := filepath.Join(s.dir, "store", fmt.Sprintf("appender-%d", i))
	plain, sopsFile := filepath.Join(s.dir, "plain.json"), filepath.Join(made, "s.json")
	writeFile(t, plain, 0o600, fmt.Appendf(nil, `{"luks": %q}`, s.value(i)))
	writeFile(t, filepath.Join(s.system(i), "nixos-version"), 0o644, []byte("26.05"))
	out, err := exec.Command("go", "tool", "sops", "encrypt", "--age",
		"age1cv92ayum8a9242xal4d7rtzns9s4gfzh3jrx64khjvk5tv06n3psx9ld33", plain).Output()
	if err != nil {
		t.Fatalf("sops: %v", err)
	}
	writeFile(t, sopsFile, 0o600, out)
	manifest, err := json.Marshal(map[string]any{
		"version": 1, "ageKeyFile": key,
		"secrets": []any{map[string]any{
			"name": "luks", "key": "luks", "sopsFile": sopsFile,
			"format": "json",
		}},
		"entries": []any{map[string]any{"path": "/etc/luks.key", "secret": "luks"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(made, "manifest.json"), 0o600, manifest)
	writeFile(t, filepath.Join(made, "bin", "append-initrd-secrets"), 0o755,
		fmt.Appendf(nil, "#!/bin/sh\nexec %s append --manifest %s --base %s --state %s -- \"$1\"\n",
			s.program, filepath.Join(made, "manifest.json"), s.base, s.state))
	if err := os.Symlink(filepath.Join(made, "bin", "append-initrd-secrets"),
		s.appender(i)); err != nil {
		t.Fatal(err)
	}
}

// extlinux, whose installer knows nothing of secrets: two generations with one initrd and different
// secrets from sops files are installed by sops-initrd install-loader around a re-enactment of
// nixpkgs' extlinux-conf-builder, and booted by the real loader.
func TestInstallLoader_extlinux(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.ext4", "extlinux")
	if os.Geteuid() != 0 {
		unavailable(t, "extlinux --install needs a mount, so root")
	}
	s := newStore(t)
	dir := t.TempDir()

	// The boot partition, with what the stock installer puts there.
	var root vm.Tree
	root.Copy("/boot/nixos/linux", k.Image)
	disk := filepath.Join(dir, "disk")
	if err := vm.MakeExt4(t.Context(), &root, disk, 96); err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	installer := filepath.Join(dir, "installer")
	for _, chosen := range []int{1, 2} {
		t.Run(fmt.Sprintf("generation %d", chosen), func(t *testing.T) {
			run(t, exec.Command("mount", "-o", "loop", disk, mount))
			mounted := true
			unmount := func() {
				if mounted {
					mounted = false
					run(t, exec.Command("umount", mount))
				}
			}
			t.Cleanup(unmount)
			var script strings.Builder
			fmt.Fprintf(&script,
				"#!/bin/sh -e\ncd %s/boot\nmkdir -p extlinux\ncp %s nixos/initrd\ncat > "+
					"extlinux/extlinux.conf <<END\nSERIAL 0\nDEFAULT nixos-%d\n", mount, s.base, chosen)
			for i := 1; i <= generations; i++ {
				fmt.Fprintf(&script,
					"\nLABEL nixos-%d\n  LINUX ../nixos/linux\n  INITRD ../nixos/initrd\n  APPEND init=%s/init "+
						"%s\n", i, s.system(i), loaderCommandLine)
			}
			script.WriteString("END\n")
			writeFile(t, installer, 0o755, []byte(script.String()))
			bootDir := filepath.Join(mount, "boot")
			run(t, exec.Command(s.program, "install-loader", "--loader", "extlinux", "--boot", bootDir,
				"--state", s.state, "--", installer, s.system(chosen)))
			run(t, exec.Command(s.program, "status", "--boot", bootDir))
			run(t, exec.Command("extlinux", "--install", filepath.Join(bootDir, "extlinux")))
			images, err := filepath.Glob(filepath.Join(bootDir, "sops-initrd", "*"))
			if err != nil || len(images) != generations {
				t.Fatalf("images %v, error %v; want one for each generation", images, err)
			}
			unmount()
			rep := boot(t, vm.Machine{
				Kernel: k, Firmware: "bios", Memory: 512, Args: vm.Virtio(disk),
				Timeout: loaderTimeout,
			})
			wantConsole(t, rep, lost, false)
			expect(t, rep, map[string]string{luksKey: regular(0o400, 0, 0, s.value(chosen))})
			var installed []vm.Extent
			for _, image := range images {
				extents, err := vm.Ext4Extents(t.Context(), disk, strings.TrimPrefix(image, mount))
				if err != nil {
					t.Fatal(err)
				}
				installed = append(installed, extents...)
			}
			noPlaintext(t, disk, s.planted(), installed...)
		})
	}
}

func writeFile(t *testing.T, name string, mode os.FileMode, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
}
