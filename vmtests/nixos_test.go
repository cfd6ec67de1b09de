package vmtests

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// nixosHost is what the NixOS module writes for the host of nixos/tests/eval/host.nix, as
// nixos/tests/eval/export.nix gives it. Nothing of it is changed here: texts are put where the
// module says, programs and sops files where the texts expect them.
type nixosHost struct {
	Shell          string            `json:"shell"`
	Programs       map[string]string `json:"programs"` // by name, the path in the store
	Base           string            `json:"base"`
	Hook           string            `json:"hook"`
	ManifestInitrd string            `json:"manifestInitrd"`
	Files          map[string]struct {
		Text       string `json:"text"`
		Executable bool   `json:"executable"`
	} `json:"files"`
	// by the path in the store, the file of this repository
	SopsFiles         map[string]string `json:"sopsFiles"`
	LUKSKeyFile       string            `json:"luksKeyFile"`
	Activation        []string          `json:"activation"`
	PreDeviceCommands string            `json:"preDeviceCommands"`

	// The same host with systemd in stage 1 and with systemd-sysusers.
	Units       map[string]hostUnit `json:"units"`
	Stage1Units map[string]hostUnit `json:"stage1Units"`
	Tmpfiles    []string            `json:"tmpfiles"`

	// UnsealUnit is what it has in stage 1 if its secrets are sealed.
	UnsealUnit hostUnit `json:"unsealUnit"`
}

// hostUnit is a systemd unit as NixOS would write it.
type hostUnit struct {
	Text     string   `json:"text"`
	WantedBy []string `json:"wantedBy"`
}

const (
	repository = ".."
	assets     = repository + "/nixos/tests/assets/"

	// The far end of the host's tunnel.
	peerPublic = "Fx4m7gk7ppXX61m9yMaT72JxEK3i2KCbNU3rCua5sE4="
)

func readHost(t *testing.T) nixosHost {
	t.Helper()
	return parseHost(t, exported(t))
}

// exported is the text of what the module writes.
func exported(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(repository + "/nixos/tests/eval/export.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parseHost(t *testing.T, text string) nixosHost {
	t.Helper()
	var h nixosHost
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// store is the host's /nix, as a disk, with what further generations of the host have there.
func (h nixosHost) store(t *testing.T, base []byte, further ...nixosHost) string {
	t.Helper()
	var tree vm.Tree
	inStore := func(path string) string { return strings.TrimPrefix(path, "/nix") }
	for _, generation := range append(further, h) {
		for path, file := range generation.Files {
			mode := uint32(0o444)
			if file.Executable {
				mode = 0o555
			}
			tree.File(inStore(path), mode, []byte(file.Text))
		}
		for path, file := range generation.SopsFiles {
			if !filepath.IsAbs(file) {
				file = filepath.Join(repository, file)
			}
			tree.Copy(inStore(path), file)
		}
	}
	for name, path := range h.Programs {
		tree.Copy(inStore(path), program(t, name))
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	tree.Copy(inStore(h.Shell), bash)
	tree.File(inStore(h.Base), 0o444, base)
	disk := filepath.Join(t.TempDir(), "store.img")
	if err := vm.MakeExt4(t.Context(), &tree, disk, 256); err != nil {
		t.Fatal(err)
	}
	return disk
}

// libraries are what the programs of the store need beside it: NixOS's would find theirs in the
// store.
func (h nixosHost) libraries(t *testing.T, tree *vm.Tree) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	tree.Libraries(bash)
}

// stageOne is a base initrd whose init does what NixOS's scripted stage 1 does: copy, run the
// module's commands, open the disk with the key file that the configuration names, go on in the
// real root.
func (h nixosHost) stageOne(t *testing.T, kernel vm.Kernel) []byte {
	t.Helper()
	var tree vm.Tree
	tree.Busybox()
	tree.Program("cryptsetup")
	modules, err := kernel.AddModules(&tree, "virtio_pci", "virtio_blk", "dm-mod", "dm-crypt", "ecb",
		"xts")
	if err != nil {
		t.Fatal(err)
	}
	tree.Dir("/sysroot", 0o755)
	tree.File("/init", 0o755, []byte(vm.Prelude+`
mount -t tmpfs -o mode=755 run /run
dmesg -n 4 # as stage 1 has it with "quiet"
if [ -d /.initrd-secrets ]; then
  cd /.initrd-secrets
  for f in $(find . -type f); do mkdir -p "/$(dirname "$f")"; cp "$f" "/$f"; done
  cd /
fi
`+h.PreDeviceCommands+`
dmesg -n 1
describe /run/secrets/luks /.initrd-secrets/run/secrets/luks /run/secrets/initrd-ssh-key /etc/systemd/network/wg0.netdev /etc/iscsi/chap | sed 's/^RESULT /RESULT stage1:/'
for m in `+strings.Join(modules, " ")+`; do insmod "$m" || result "module-$m" fail; done
mkdir -p /run/cryptsetup
if cryptsetup open --key-file `+h.LUKSKeyFile+` /dev/vda root && mount -t ext4 /dev/mapper/root /sysroot; then
  result disk ok opened
else
  result disk fail "not opened"
  finish
fi
mount -t ext4 -o ro /dev/vdb /sysroot/nix
mount --move /run /sysroot/run
umount /proc /sys /dev
exec switch_root /sysroot /init
`))
	data := archive(t, &tree)
	return compress(t, "zstd", data)
}

// root is the encrypted root file system. Its init runs the activation scripts in NixOS's order;
// between them, where NixOS makes users, it looks whether their passwords are there.
func (h nixosHost) root(t *testing.T, key string) string {
	t.Helper()
	var tree vm.Tree
	tree.Busybox()
	h.libraries(t, &tree)
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/nix", "/tmp", "/var/lib"} {
		tree.Dir(dir, 0o755)
	}
	tree.File("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"))
	tree.File("/etc/group", 0o644, []byte("root:x:0:\nkeys:x:96:\napp:x:1000:\n"))
	h.hostKey(t, &tree)
	tree.Copy("/reader", guestProgram(t, "reader"))
	tree.File("/activate", 0o755, []byte("#!"+h.Shell+"\nset -e\n"+h.Activation[0]+`
[ -r /run/secrets-for-users/test_key ] && echo "RESULT before-users ok passwords are there"
`+h.Activation[1]))
	tree.File("/init", 0o755, []byte(vm.Prelude+`
describe /run/secrets | sed 's/^RESULT /RESULT before:/'
/reader /run/secrets/initrd-ssh-key /run/stop > /run/reader &
while ! [ -s /run/reader ]; do usleep 10000; done
if /activate; then result activation ok "exit status 0"; else result activation fail "exit status $?"; fi
touch /run/stop; wait; cat /run/reader
for p in /run/secrets/luks /run/secrets/initrd-ssh-key /run/secrets/nested/test/file /run/secrets/rendered/app.conf /run/secrets-for-users/test_key; do describe "$p"; done
result link-/run/secrets ok "$(readlink /run/secrets)"
result link-/var/lib/app/password ok "$(readlink /var/lib/app/password)"
finish
`))
	disk := filepath.Join(t.TempDir(), "root.img")
	if err := vm.MakeExt4(t.Context(), &tree, disk, 24); err != nil {
		t.Fatal(err)
	}
	if err := vm.EncryptDisk(t.Context(), disk, []byte(key)); err != nil {
		t.Fatal(err)
	}
	return disk
}

func (h nixosHost) hostKey(t *testing.T, tree *vm.Tree) {
	t.Helper()
	key, err := os.ReadFile(assets + "ssh_host_ed25519_key")
	if err != nil {
		t.Fatal(err)
	}
	tree.File("/etc/ssh/ssh_host_ed25519_key", 0o600, key)
}

// TestNixOS_hostOfTheModule takes what the module writes through a whole switch, on a machine with
// nothing but a store, a host key and a boot partition: the boot loader phase, in which the hook is
// run as the systemd-boot builder does; a boot of the image that came out; activation in the real
// root.
func TestNixOS_hostOfTheModule(t *testing.T) {
	kernel := testKernel(t)
	need(t, "bash", "cryptsetup", "mkfs.ext4", "debugfs", "zstd")
	h := readHost(t)
	value := secretsOf(t, assets+"secrets.yaml")
	disk := h.root(t, value("luks"))
	base := h.stageOne(t, kernel)
	store := h.store(t, base)

	image := h.install(t, kernel, store)
	rep := boot(t, vm.Machine{
		Kernel: kernel, Initrd: image, Memory: 512, Append: "quiet",
		Args: append(append(vm.Virtio(disk), vm.Virtio(store)...), "-smp", "2"),
	})
	want := map[string]string{
		"stage1:/run/secrets/luks":               regular(0o400, 0, 0, []byte(value("luks"))),
		"stage1:/run/secrets/initrd-ssh-key":     regular(0o400, 0, 0, []byte(value("initrd-ssh-key"))),
		"stage1:/etc/systemd/network/wg0.netdev": regular(0o640, 152, 152, netdev(value("wireguard"))),
		"stage1:/etc/iscsi/chap":                 regular(0o600, 0, 0, []byte("another module's file\n")),
		"disk":                                   "opened",
		"before:/run/secrets":                    "dir 755 0 0", // what stage 1 left
		"before-users":                           "passwords are there",
		"activation":                             "exit status 0",
		// never a moment without the file
		"reader":                        "failures map[], contents 1, file systems 2",
		"link-/run/secrets":             "/run/secrets.d/1",
		"/run/secrets/luks":             "missing", // needed in the initrd only
		"/run/secrets/initrd-ssh-key":   regular(0o400, 0, 0, []byte(value("initrd-ssh-key"))),
		"/run/secrets/nested/test/file": regular(0o440, 1000, 1000, []byte("another value")),
		"/run/secrets/rendered/app.conf": regular(0o400, 1000, 1000,
			[]byte("password=another value")),
		"/run/secrets-for-users/test_key": regular(0o400, 0, 0, []byte("test_value")),
		"link-/var/lib/app/password":      "/run/secrets/nested/test/file",
	}
	expect(t, rep, want)

	noPlaintext(t, disk, h.planted(t))

	t.Run("torn by a power failure", func(t *testing.T) { h.torn(t, kernel, image, value("luks")) })
	t.Run("half overwritten in place", func(t *testing.T) { h.halted(t, kernel, image) })
}

// netdev is what the template for the tunnel is rendered to.
func netdev(key string) []byte {
	return fmt.Appendf(nil, `[NetDev]
Name=wg0
Kind=wireguard

[WireGuard]
PrivateKey=%s

[WireGuardPeer]
PublicKey=%s
Endpoint=192.0.2.1:51820
AllowedIPs=10.100.0.0/24
`, key, peerPublic)
}

// install boots a machine that installs its boot loader: a copy of the base on the boot partition,
// and the hook, three times, as at three rebuilds. It returns the image.
func (h nixosHost) install(t *testing.T, kernel vm.Kernel, store string) string {
	t.Helper()
	var tree vm.Tree
	tree.Busybox()
	h.libraries(t, &tree)
	modules, err := kernel.AddModules(&tree, "virtio_pci", "virtio_blk")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/nix", "/boot", "/var/lib"} {
		tree.Dir(dir, 0o755)
	}
	h.hostKey(t, &tree)
	tree.File("/var/lib/iscsi/chap", 0o600, []byte("another module's file\n"))
	tree.File("/init", 0o755, []byte(vm.Prelude+`
for m in `+strings.Join(modules, " ")+`; do insmod "$m" || result "module-$m" fail; done
mount -t ext4 -o ro /dev/vda /nix
mount -t ext4 /dev/vdb /boot
describe /run/secrets
umask 077; cp `+h.Base+` /boot/initrd; chmod 600 /boot/initrd

for i in 1 2 3; do
  if env -i PATH=/usr/bin:/bin `+h.Hook+` /boot/initrd; then result hook-$i ok "exit status 0"; else result hook-$i fail "exit status $?"; fi
  result size-$i ok "$(stat -c %s /boot/initrd)"
done
umount /boot
finish
`))
	bootDisk := filepath.Join(t.TempDir(), "boot.img")
	if err := vm.MakeExt4(t.Context(), new(vm.Tree), bootDisk, 64); err != nil {
		t.Fatal(err)
	}
	rep := boot(t, vm.Machine{
		Kernel: kernel, Initrd: writeImage(t, archive(t, &tree)), Memory: 512, Append: "quiet",
		Args: append(vm.Virtio(store), vm.Virtio(bootDisk)...),
	})
	size := rep.Results["size-1"].Detail
	want := map[string]string{"/run/secrets": "missing", "size-2": size, "size-3": size}
	for n := 1; n <= 3; n++ {
		want[fmt.Sprintf("hook-%d", n)] = "exit status 0"
	}
	expect(t, rep, want)
	if t.Failed() {
		t.FailNow()
	}
	image := filepath.Join(t.TempDir(), "initrd")
	run(t, exec.Command("debugfs", "-R", "dump /initrd "+image, bootDisk))
	installed, err := vm.Ext4Extents(t.Context(), bootDisk, "/initrd")
	if err != nil {
		t.Fatal(err)
	}
	noPlaintext(t, bootDisk, h.planted(t), installed...)
	noPlaintext(t, store, h.planted(t))
	return image
}

// planted are values of the host's sops file that no disk may hold, outside installed images: of
// the private key a line that no other key has.
func (h nixosHost) planted(t *testing.T) map[string][]byte {
	t.Helper()
	values := map[string][]byte{}
	for _, file := range h.SopsFiles {
		if !filepath.IsAbs(file) {
			file = filepath.Join(repository, file)
		}
		value := secretsOf(t, file)
		for _, key := range []string{"luks", "wireguard", "initrd-ssh-key"} {
			text := value(key)
			if lines := strings.Split(text, "\n"); strings.HasPrefix(text, "-----BEGIN") {
				text = lines[2]
			}
			values[key] = []byte(text)
		}
	}
	return values
}

// secretsOf decrypts a sops file with the sops program and returns a look-up by key.
func secretsOf(t *testing.T, file string) func(key string) string {
	t.Helper()
	cmd := exec.Command("go", "tool", "sops", "decrypt", "--output-type", "json", file)
	cmd.Env = append(os.Environ(), "SOPS_AGE_KEY_FILE="+assets+"age-keys.txt")
	var values map[string]any
	if err := json.Unmarshal(run(t, cmd), &values); err != nil {
		t.Fatal(err)
	}
	return func(key string) string {
		text, ok := values[key].(string)
		if !ok {
			t.Fatalf("%s has no text under %q, but %v", file, key, slices.Sorted(maps.Keys(values)))
		}
		return text
	}
}

func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	out, err := vm.Output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
