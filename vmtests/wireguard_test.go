package vmtests

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// peerPrivate is the key of the far end, whose public half the host's template has.
const peerPrivate = "+dvc2u5cbFHjujg30j1Sgv82lUuj9N+D6cb66vTRrHo="

// networkd adds systemd-networkd to a stage 1, as an ordinary user with the number that NixOS gives
// it.
func networkd(t *testing.T, tree *vm.Tree) {
	t.Helper()
	testSysroot(t).Add(tree, "/lib/systemd/systemd-networkd",
		"/lib/systemd/system/systemd-networkd.service", "/lib/systemd/system/systemd-networkd.socket",
		"/usr/bin/wg")
	tree.File("/etc/passwd", 0o644,
		[]byte("root:x:0:0::/root:/bin/sh\nsystemd-network:x:152:152::/:/bin/false\n"))
	tree.File("/etc/group", 0o644,
		[]byte("root:x:0:\nsystemd-network:x:152:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\nkvm:x:104:\n"+
			"input:x:105:\nrender:x:106:\naudio:x:29:\n"+
			"video:x:44:\nlp:x:7:\ndialout:x:20:\ncdrom:x:24:\ntape:x:26:\nsgx:x:107:\n"))
	tree.Link("/etc/systemd/system/sysinit.target.wants/systemd-networkd.service",
		"/lib/systemd/system/systemd-networkd.service")
}

// append runs the program on an image with what the module writes for the hook; only where sops
// files and keys are is said anew.
func (h nixosHost) append(t *testing.T, image string) {
	t.Helper()
	dir := t.TempDir()
	chap := filepath.Join(dir, "chap")
	writeFile(t, chap, 0o600, []byte("another module's file\n"))
	keys, err := filepath.Abs(assets)
	if err != nil {
		t.Fatal(err)
	}
	replace := []string{"/var/lib/iscsi/chap", chap, "/etc/ssh/ssh_host", keys + "/ssh_host"}
	for path, file := range h.SopsFiles {
		replace = append(replace, path, file)
	}
	manifest := filepath.Join(dir, "manifest.json")
	writeFile(t, manifest, 0o600,
		[]byte(strings.NewReplacer(replace...).Replace(h.Files[h.ManifestInitrd].Text)))
	run(t, exec.Command(program(t, "sops-initrd"), "append", "--manifest", manifest, "--state",
		filepath.Join(dir, "state"), "--", image))
}

// TestWireGuard_inStageOne has networkd bring up a tunnel in stage 1, with a template from a sops
// file, rendered by the hook's program. The far end is a second interface, whose packets the kernel
// takes from and gives to a network of its own; nothing but the keys connects the two.
func TestWireGuard_inStageOne(t *testing.T) {
	kernel := testKernel(t)
	need(t, "bash", "zstd")
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(private.Bytes())
	public := base64.StdEncoding.EncodeToString(private.PublicKey().Bytes())
	h, _ := generation(t, 1, assets+"secrets.yaml", map[string]string{`["wireguard"]`: key})

	tree := h.systemdStageOne(t, kernel, "wireguard")
	networkd(t, tree)
	tree.File("/etc/systemd/network/wg0.network", 0o644,
		[]byte("[Match]\nName=wg0\n[Network]\nAddress=10.100.0.2/24\n"))
	// The same key as a file that a netdev names, which is how docs/examples/wireguard.nix has it.
	tree.File("/etc/systemd/network/wg1.netdev", 0o644,
		[]byte("[NetDev]\nName=wg1\nKind=wireguard\n[WireGuard]\nPrivateKeyFile=/run/wireguard/key\n"))
	tree.File("/peer.key", 0o600, []byte(peerPrivate+"\n"))
	installUnit(tree, "probe.target",
		hostUnit{Text: "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n"})
	probe(tree, "probe.target", "systemd-networkd.service", `
describe /etc/systemd/network/wg0.netdev /run/wireguard/key
result networkd ok "$(stat -c %u /proc/$(pidof systemd-networkd))"
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip link add wgpeer type wireguard
wg set wgpeer listen-port 51820 private-key /peer.key peer `+public+` allowed-ips 10.100.0.2/32
unshare -n sleep 1000 &
there=$!
while [ "$(readlink /proc/$there/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.1; done
ip link set wgpeer netns $there
nsenter -t $there -n ip addr add 10.100.0.1/24 dev wgpeer
nsenter -t $there -n ip link set wgpeer up
tries=0
until ping -c 1 -W 1 10.100.0.1 >/dev/null 2>&1; do tries=$((tries+1)); [ $tries -lt 60 ] || break; sleep 0.3; done
result ping ok "$(ping -c 3 -W 5 10.100.0.1 | sed -n 's/.*\([0-9]\) packets received.*/\1/p') of 3"
result public ok "$(wg show wg0 public-key)"
result public-of-file ok "$(wg show wg1 public-key)"
result peer ok "$(wg show wg0 peers)"
if [ "$(wg show wg0 latest-handshakes | cut -f2)" -gt 0 ] && [ "$(nsenter -t $there -n wg show wgpeer latest-handshakes | cut -f2)" -gt 0 ]; then
  result handshake ok both
else
  result handshake fail "$(wg show wg0 latest-handshakes)"
fi
said() { journalctl --sync; journalctl --no-pager -o cat -u systemd-networkd.service -n 100 | grep -F wg0.netdev | tail -n 1; }
result said ok "$(said)"

# again MODE OWNER: networkd begins anew with the file like this.
again() {
  chmod $1 /etc/systemd/network/wg0.netdev
  chown $2 /etc/systemd/network/wg0.netdev
  ip link del wg0 2>/dev/null
  systemctl restart systemd-networkd.service
  tries=0
  until ip link show wg0 >/dev/null 2>&1; do tries=$((tries+1)); [ $tries -lt 15 ] || break; sleep 0.2; done
}
again 0400 0:0
result wrong-owner ok "$(wg show wg0 public-key 2>&1)"
result wrong-owner-said ok "$(said)"
again 0644 0:0
result everybody ok "$(wg show wg0 public-key 2>&1)"
result everybody-said ok "$(said)"
`)
	image := writeImage(t, compress(t, "zstd", archive(t, tree)))
	h.append(t, image)
	rep := boot(t, vm.Machine{
		Kernel: kernel, Initrd: image, Memory: 512,
		Append: "rd.systemd.unit=probe.target " + systemdAppend,
	})
	expect(t, rep, map[string]string{
		"/etc/systemd/network/wg0.netdev": regular(0o640, 152, 152, netdev(key)),
		"/run/wireguard/key":              regular(0o440, 0, 152, []byte(key)),
		"networkd":                        "152",
		"public":                          public,
		"public-of-file":                  public,
		"peer":                            peerPublic,
		"ping":                            "3 of 3",
		"handshake":                       "both",
		"said":                            "",

		// What the owner and the mode are for: networkd is no root, and does not like a key that others
		// can read.
		"wrong-owner": "Unable to access interface: No such device",
		"wrong-owner-said": "Failed to open configuration file '/etc/systemd/network/wg0.netdev': " +
			"Permission denied",
		"everybody": public,
		"everybody-said": "/etc/systemd/network/wg0.netdev has 0644 mode that is too permissive, " +
			"please adjust the ownership and access mode.",
	})
	wantConsole(t, rep, key, false)
}
