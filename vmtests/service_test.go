package vmtests

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// generation is what the module writes for the host when its sops file has other values: whatever
// depends on the file has another path in the store. The file is made from the one of the
// generation before, by sops itself.
func generation(t *testing.T, number int, from string, values map[string]string) (h nixosHost,
	file string,
) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "secrets.yaml")
	writeFile(t, file, 0o600, data)
	for key, value := range values {
		cmd := exec.Command("go", "tool", "sops", "set", file, key, strconv.Quote(value))
		cmd.Env = append(os.Environ(), "SOPS_AGE_KEY_FILE="+assets+"age-keys.txt")
		run(t, cmd)
	}

	text := exported(t)
	old := parseHost(t, text)
	var renamed []string
	rename := func(path string) {
		hash := strings.TrimPrefix(path, "/nix/store/")[:32]
		renamed = append(renamed, hash, fmt.Sprintf("%s%02d", hash[:30], number))
	}
	for path := range old.SopsFiles {
		rename(path)
	}
	for path, f := range old.Files {
		if strings.Contains(f.Text, "-secrets.yaml") || path == old.Hook {
			rename(path)
		}
	}
	h = parseHost(t, strings.NewReplacer(renamed...).Replace(text))
	for path := range h.SopsFiles {
		h.SopsFiles[path] = file
	}
	return h, file
}

// systemdStageOne is an initrd with systemd and with the copying unit as the module leaves it.
func (h nixosHost) systemdStageOne(t *testing.T, k vm.Kernel, modules ...string) *vm.Tree {
	t.Helper()
	tree := systemdStageOne(t, k, modules...)
	for name, u := range h.Stage1Units {
		installUnit(tree, name, u)
	}
	for path, file := range h.Files {
		if strings.Contains(path, "-unit-script-initrd-") {
			tree.File(path, 0o555, []byte(file.Text))
		}
	}
	h.bash(t, tree)
	return tree
}

func (h nixosHost) bash(t *testing.T, tree *vm.Tree) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	testSysroot(t).AddProgram(tree, h.Shell, bash)
}

// sysusers has systemd-sysusers make the user app as nixpkgs' module systemd.sysusers does: the
// hash comes as a credential, from the user's hashedPasswordFile.
func sysusers(tree *vm.Tree) {
	tree.File("/etc/sysusers.d/00-nixos.conf", 0o644, []byte("u app 1000 \"app\" /\n"))
	tree.File("/etc/systemd/system/systemd-sysusers.service.d/overrides.conf", 0o644, []byte(`[Unit]
ConditionNeedsUpdate=
[Service]
LoadCredential=passwd.hashed-password.app:/run/secrets-for-users/test_key
`))
}

// switchStandIn stands for NixOS's switch-to-configuration, in the order of its steps (nixpkgs,
// switch-to-configuration-ng): the boot loader, which calls the hook of the new system with the
// installed image; units that changed are stopped; activation; the units that come before
// everything; the lists that activation wrote; units that changed are started.
const switchStandIn = `#!/bin/busybox sh
set -e
new=/systems/$1
if [ -e $new/hook ]; then $new/hook /boot/initrd; fi
mkdir -p /run/nixos
changed=
for u in $new/units/*; do cmp -s $u /etc/systemd/system/${u##*/} || changed="$changed ${u##*/}"; done
if [ -n "$changed" ]; then systemctl stop $changed; fi
cp $new/units/* /etc/systemd/system/
systemctl daemon-reload
if [ -e $new/activate ]; then $new/activate; fi
systemctl restart sysinit-reactivation.target
for verb in restart reload; do
  list=/run/nixos/activation-$verb-list
  if [ -e $list ]; then systemctl $verb $(sort -u $list); rm $list; fi
done
if [ -n "$changed" ]; then systemctl start $changed; fi
`

// probeFunctions are what the host's probe looks with.
const probeFunctions = `
# Until nothing is being started but the probe, and every service has seen its secret.
settle() {
  i=0
  while systemctl list-jobs --no-legend | grep -qv probe.service || ! [ -s /run/web/seen -a -s /run/proxy/seen -a -s /run/other/seen ]; do
    i=$((i+1)); [ $i -lt 300 ] || break; sleep 0.2
  done
}
# services PREFIX: what each of them saw.
services() {
  for u in web proxy other; do result $1:$u ok "$(systemctl is-active $u.service) $(cut -d' ' -f1 < /run/$u/seen)"; done
  result $1:proxy-reloaded ok "$(cat /run/proxy/reloaded 2>/dev/null | cut -d' ' -f1)"
}
# invocations: each service with what tells its runs apart.
invocations() {
  systemctl show '*.service' -p Id -p InvocationID -p MainPID |
    awk -F= '$1 == "Id" { id = $2 } $1 == "InvocationID" { run = $2 } $1 == "MainPID" { pid = $2 } /^$/ { print id, run pid } END { print id, run pid }' |
    grep -v '^probe' | sort -u
}
# ran PREFIX: the services that were started since the invocations in /run/before.
ran() {
  invocations > /run/after
  result $1:ran ok "$(awk 'NR == FNR { seen[$1] = $2; next } seen[$1] != $2 { print $1 }' /run/before /run/after | tr '\n' ' ')"
}
# search NAME BASE64: the files of the running system, and the journal, that have the value.
search() {
  needle=$(echo "$2" | base64 -d)
  journalctl --sync
  { for m in / /run $(awk '$2 ~ "^/(run|dev|tmp)/" { print $2 }' /proc/mounts); do
      find $m -xdev -type f -size -40000 -exec grep -lF -e "$needle" {} +
    done
    if journalctl --no-pager -o export | grep -qF -e "$needle"; then echo journal; fi
    if dmesg | grep -qF -e "$needle"; then echo dmesg; fi
  } 2>/dev/null | sort -u > /run/found
  result search:$1 ok "$(tr '\n' ' ' < /run/found)"
}
digest() { sha256sum | cut -d' ' -f1; }
password() { grep '^app:' /etc/shadow | cut -d: -f2 | tr -d '\n' | digest; }
`

// systemdRoot is the encrypted root of the host, with the systems it can switch to.
func (h nixosHost) systemdRoot(t *testing.T, key string, systems map[int]nixosHost,
	script string,
) string {
	t.Helper()
	tree := systemdRoot(t)
	h.bash(t, tree)
	h.hostKey(t, tree)
	sysusers(tree)
	installUnit(tree, "sysinit-reactivation.target",
		hostUnit{Text: "[Unit]\nDescription=Reactivate sysinit units\n"})
	for name, u := range h.Units {
		installUnit(tree, name, u)
	}
	tree.File("/etc/tmpfiles.d/00-nixos.conf", 0o644, []byte(strings.Join(h.Tmpfiles, "\n")+"\n"))
	tree.File("/var/lib/iscsi/chap", 0o600, []byte("another module's file\n"))
	tree.Dir("/var/empty", 0o755)
	for number, system := range systems {
		dir := fmt.Sprintf("/systems/%d/", number)
		for name, u := range system.Units {
			tree.File(dir+"units/"+name, 0o644, []byte(u.Text))
		}
		tree.Link(dir+"hook", system.Hook)
	}
	tree.File("/usr/bin/switch-to-configuration", 0o755, []byte(switchStandIn))
	probe(tree, "multi-user.target", "multi-user.target", probeFunctions+script)
	return encrypted(t, tree, 96, []byte(key))
}

// encrypted is a LUKS disk with the tree.
func encrypted(t *testing.T, tree *vm.Tree, sizeMiB int, key []byte) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "root.img")
	if err := vm.MakeExt4(t.Context(), tree, disk, sizeMiB); err != nil {
		t.Fatal(err)
	}
	if err := vm.EncryptDisk(t.Context(), disk, key); err != nil {
		t.Fatal(err)
	}
	return disk
}

const systemdAppend = "rw fsck.mode=skip systemd.show_status=0 " +
	"systemd.log_target=journal-or-kmsg quiet"

// showsConsole makes sure that the console has the lines that a page of the documentation shows, in
// that order.
func showsConsole(t *testing.T, rep *vm.Report, page string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```text\n")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		t.Fatalf("%s has no console", page)
	}
	rest := rep.Console
	for line := range strings.Lines(block) {
		if _, rest, found = strings.Cut(rest, line); !found {
			t.Fatalf("%s: the console does not say %q there:\n%s", page, line, rep.Console)
		}
	}
}

// TestNixOS_fromSwitchToService takes the host through what happens between a switch and a service
// that has its secret: the boot loader is installed, with the hook; the machine boots through
// systemd in stage 1, opens its root with the key file and goes on with systemd there; users and
// services get their secrets; the next switches restart and reload who has to see what changed.
func TestNixOS_fromSwitchToService(t *testing.T) {
	kernel := testKernel(t)
	need(t, "bash", "cryptsetup", "mkfs.ext4", "mkfs.vfat", "mcopy", "debugfs", "zstd")
	const (
		hash = "$6$initrd$" +
			"kCmvSmpS0pHTbqLRtcRjyD6kMkOTmXFMQwDBqqPjYHFM5CWqTUAl5nk3gBUoyjzcQw2DS6SXTDHzqmFvBtQ1r1"
		tunnel   = "WLfKjKwjDTPzm2HgTRuKSBCBJ7qbBSPBPKz8ilvUqUg="
		rotated  = "uBWIe2jPjzQdOGQ7DfXBlSYBLCyN4XjcLpUW1PdZ4kc="
		password = "the first password"
		newer    = "the second password"
		lateKey  = "the second host key"
	)
	first, file := generation(t, 1, assets+"secrets.yaml", map[string]string{
		`["test_key"]`: hash, `["wireguard"]`: tunnel, `["nested"]["test"]["file"]`: password,
	})
	second, file := generation(t, 2, file, map[string]string{
		`["nested"]["test"]["file"]`: newer,
		`["wireguard"]`:              rotated,
	})
	third, _ := generation(t, 3, file, map[string]string{`["initrd-ssh-key"]`: lateKey})
	value := secretsOf(t, file)

	// for the boot partition
	stageOne := first.systemdStageOne(t, kernel, "vfat", "nls_cp437", "nls_ascii")
	stageOne.File("/etc/crypttab", 0o600,
		[]byte("root /dev/vda "+first.LUKSKeyFile+" luks,x-initrd.attach\n"))
	stageOne.File("/etc/fstab", 0o644, []byte("/dev/vdb /sysroot/nix ext4 ro\n"))
	base := compress(t, "zstd", archive(t, stageOne))
	store := first.store(t, base, second, third)

	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	disk := first.systemdRoot(t, value("luks"), map[int]nixosHost{2: second}, `
if [ -e /booted ]; then
  # the second boot
  settle
  services again
  result again:shadow ok "$(password)"
  finish
fi
touch /booted
settle
result users ok "$(id -u app) $(password)"
services boot
result web-user ok "$(stat -L -c %u /run/web/seen)"
result link-/run/secrets ok "$(readlink /run/secrets)"
describe /run/secrets/luks /run/wireguard/key /.initrd-secrets /run/initramfs /run/secrets/initrd-ssh-key /var/lib/app/password
search luks `+encode(value("luks"))+`
search wireguard `+encode(tunnel)+`
search installed `+encode(password)+`
result failed ok "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ')"

mount -t vfat -o umask=0077 /dev/vdc /boot
invocations > /run/before
if switch-to-configuration 2; then result switch-2 ok "exit status 0"; else result switch-2 fail "exit status $?"; fi
umount /boot
settle
ran switch-2
services switch-2

# The same host, where scripts install secrets.
mkdir -p /systems/3
cp -r /systems/2/units /systems/3/
cat > /systems/3/activate <<'END'
#!`+third.Shell+`
set -e
`+strings.Join(third.Activation, "\n")+`
END
chmod 755 /systems/3/activate
invocations > /run/before
if switch-to-configuration 3; then result switch-3 ok "exit status 0"; else result switch-3 fail "exit status $?"; fi
settle
ran switch-3
services switch-3
describe /run/nixos/activation-restart-list
`)

	image := first.install(t, kernel, store)
	bootDisk := filepath.Join(t.TempDir(), "boot.img")
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	var content vm.Tree
	content.File("/initrd", 0o600, data)
	if err := vm.MakeFAT(t.Context(), &content, bootDisk, 64); err != nil {
		t.Fatal(err)
	}
	machine := vm.Machine{
		Kernel: kernel, Initrd: image, Memory: 768, Append: "root=/dev/mapper/root rootfstype=ext4 " +
			systemdAppend,
		Args: append(append(vm.Virtio(disk), vm.Virtio(store)...), vm.Virtio(bootDisk)...),
	}
	rep := boot(t, machine)

	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	sees := func(s string) string { return "active " + sum(s) }
	installed := "/run/credentials/web.service/password /run/secrets.d/1/nested/test/file " +
		"/run/secrets.d/1/rendered/app.conf "
	expect(t, rep, map[string]string{
		"users":                       "1000 " + sum(hash),
		"boot:web":                    sees(password),
		"boot:proxy":                  sees("password=" + password),
		"boot:other":                  sees(value("initrd-ssh-key")),
		"boot:proxy-reloaded":         "",
		"link-/run/secrets":           "/run/secrets.d/1",
		"/run/secrets/luks":           "missing",
		"/run/wireguard/key":          "missing",
		"/.initrd-secrets":            "missing",
		"/run/initramfs":              "missing",
		"/run/secrets/initrd-ssh-key": regular(0o400, 0, 0, []byte(value("initrd-ssh-key"))),
		"/var/lib/app/password":       "link /run/secrets/nested/test/file",
		"search:luks":                 "",
		"search:wireguard":            "",
		"search:installed":            installed,
		"failed":                      "",

		"switch-2": "exit status 0",
		"switch-2:ran": "sops-install-secrets-for-users.service " +
			"sops-install-secrets.service web.service ",
		"switch-2:web":            sees(newer),
		"switch-2:proxy":          sees("password=" + password), // the same process as before,
		"switch-2:proxy-reloaded": sum("password=" + newer),     // which was told
		"switch-2:other":          sees(value("initrd-ssh-key")),

		"switch-3":                           "exit status 0",
		"switch-3:ran":                       "other.service ",
		"switch-3:other":                     sees(lateKey),
		"switch-3:web":                       sees(newer),
		"/run/nixos/activation-restart-list": "missing",
	})
	if uid, err := strconv.Atoi(rep.Results["web-user"].Detail); err != nil || uid < 61184 ||
		uid > 65519 {
		t.Errorf("web ran as %q, which is no dynamic user (systemd.exec(5))",
			rep.Results["web-user"].Detail)
	}
	for _, secret := range []string{value("luks"), tunnel, rotated, password, newer} {
		wantConsole(t, rep, secret, false)
	}

	// What the switch left for the next boot.
	run(t, exec.Command("mcopy", "-n", "-o", "-i", bootDisk, "::/initrd", image))
	if data, err = os.ReadFile(image); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(tunnel)) || !bytes.Contains(data, []byte(rotated)) {
		t.Error("the switch did not replace the key of the tunnel in the image")
	}
	for _, h := range []nixosHost{first, second, third} {
		noPlaintext(t, disk, h.planted(t))
		noPlaintext(t, store, h.planted(t))
	}
	if !long() {
		return
	}
	machine.Append = strings.Replace(machine.Append, "show_status=0", "show_status=1 TERM=dumb", 1)
	rep = boot(t, machine)
	showsConsole(t, rep, repository+"/docs/explanation/console-of-a-boot.md")
	expect(t, rep, map[string]string{
		"again:web":   sees(newer),
		"again:proxy": sees("password=" + newer), "again:shadow": sum(hash),
	})
}
