package vmtests

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// homeGeneration is what the home-manager module writes for the user of home/tests/user.nix, as
// home/tests/export.nix gives it.
type homeGeneration struct {
	Activation string              `json:"activation"` // text of the entry
	Script     string              `json:"script"`
	Program    string              `json:"program"`
	Files      map[string]string   `json:"files"`     // by path, the text
	SopsFiles  map[string]string   `json:"sopsFiles"` // by path, the file of this repository
	Units      map[string]hostUnit `json:"units"`
}

// readHome gives the generations before and after a change, and the paths of programs.
func readHome(t *testing.T) (shell, systemctl string, generations []homeGeneration) {
	t.Helper()
	data, err := os.ReadFile(repository + "/home/tests/export.json")
	if err != nil {
		t.Fatal(err)
	}
	var home struct {
		Shell, Systemctl string
		First, Second    homeGeneration
	}
	if err := json.Unmarshal(data, &home); err != nil {
		t.Fatal(err)
	}
	return home.Shell, home.Systemctl, []homeGeneration{home.First, home.Second}
}

// activateStandIn stands for home-manager's activation script, in the order of its entries: links,
// secrets, units. Its functions are those of home-manager's library.
const activateStandIn = `
set -eu
run() { if [[ -v DRY_RUN ]]; then echo "$@"; else "$@"; fi; }
noteEcho() { echo "$@"; }
errorEcho() { echo "$@"; }
trap 'echo the trap of home-manager' EXIT
units=$HOME/.config/systemd/user
if [[ ! -v DRY_RUN ]]; then rm -rf $units; mkdir -p $units; cp -r /generations/$1/. $units/; fi
source /generations/$1.bash
if [[ ! -v DRY_RUN && -S /run/user/$UID/systemd/private ]]; then
  export XDG_RUNTIME_DIR=/run/user/$UID
  systemctl --user daemon-reload
  systemctl --user start default.target
fi
echo the end
`

// userRoot is a root file system with logind and two users: alice, whose home-manager has the
// generations, and bob.
func userRoot(t *testing.T, script string) string {
	t.Helper()
	shell, systemctl, generations := readHome(t)
	tree := systemdRoot(t)
	s := testSysroot(t)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	s.AddProgram(tree, shell, bash)
	tree.Link(systemctl, "/bin/systemctl")

	for _, unit := range []string{
		"systemd-logind.service", "systemd-user-sessions.service", "user@.service", "user.slice",
		"user-.slice.d", "user-runtime-dir@.service", "dbus.service", "dbus.socket",
		"nss-user-lookup.target", "dbus-org.freedesktop.login1.service",
	} {
		s.Add(tree, "/lib/systemd/system/"+unit)
	}
	for _, unit := range []string{
		"basic", "default", "exit", "paths", "shutdown", "sockets", "timers", "graphical-session-pre",
	} {
		s.Add(tree, "/lib/systemd/user/"+unit+".target")
	}
	s.Add(tree, "/lib/systemd/user/systemd-exit.service", "/lib/systemd/user/app.slice",
		"/lib/systemd/systemd-logind", "/lib/systemd/systemd-user-runtime-dir",
		"/lib/systemd/systemd-user-sessions", "/usr/bin/dbus-daemon", "/usr/share/dbus-1/system.conf",
		"/usr/share/dbus-1/system.d/org.freedesktop.*1.conf", "/usr/bin/loginctl",
		"/lib/*/security/pam_permit.so", "/lib/*/security/pam_systemd.so")
	tree.Dir("/usr/share/dbus-1/system-services", 0o755)
	tree.File("/etc/pam.d/systemd-user", 0o644, []byte(
		"account required pam_permit.so\nsession required pam_permit.so\n"+
			"session required pam_systemd.so\n"))
	tree.File("/etc/sysusers.d/users.conf", 0o644, []byte("u messagebus - - /\n"+
		"u alice 1000 - /home/alice /bin/sh\nu bob 1001 - /home/bob /bin/sh\n"))
	for _, unit := range []string{"dbus.socket", "systemd-logind.service"} {
		tree.Link("/etc/systemd/system/multi-user.target.wants/"+unit, "/lib/systemd/system/"+unit)
	}

	for i, g := range generations {
		dir := fmt.Sprintf("/generations/%d", i+1)
		tree.File(dir+".bash", 0o644, []byte(g.Activation))
		for name, u := range g.Units {
			tree.File(dir+"/"+name, 0o644, []byte(u.Text))
			for _, by := range u.WantedBy {
				tree.Link(dir+"/"+by+".wants/"+name, "../"+name)
			}
		}
		for path, text := range g.Files {
			tree.File(path, 0o755, []byte(text))
		}
		for path, file := range g.SopsFiles {
			tree.Copy(path, filepath.Join(repository, file))
		}
		if i == 0 {
			tree.Copy(g.Program, program(t, "sops-install-secrets"))
		}
	}
	tree.File("/usr/bin/activate", 0o755, []byte("#!"+shell+activateStandIn))
	key, err := os.ReadFile(assets + "age-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	tree.File("/home/alice/.config/sops/age/keys.txt", 0o600, key)
	tree.Dir("/home/bob", 0o755)
	probe(tree, "multi-user.target", "multi-user.target systemd-logind.service", script)
	disk := filepath.Join(t.TempDir(), "root.img")
	if err := vm.MakeExt4(t.Context(), tree, disk, 128); err != nil {
		t.Fatal(err)
	}
	return disk
}

// plainStageOne is an initrd that mounts the first disk and goes on there.
func plainStageOne(t *testing.T, k vm.Kernel) string {
	t.Helper()
	var tree vm.Tree
	k.AddBusybox(&tree)
	modules, err := k.AddModules(&tree, "virtio_pci", "virtio_blk")
	if err != nil {
		t.Fatal(err)
	}
	tree.Dir("/sysroot", 0o755)
	tree.File("/init", 0o755, []byte(vm.Prelude+`
for m in `+strings.Join(modules, " ")+`; do insmod "$m"; done
mount -t ext4 /dev/vda /sysroot
umount /proc /sys /dev
exec switch_root /sysroot /usr/sbin/init
`))
	return writeImage(t, compress(t, "zstd", archive(t, &tree)))
}

// TestHome takes a user through what happens between a boot and a logout: home-manager runs before
// anybody is logged in; secrets come at login and go at logout; a switch installs new ones and
// restarts who uses them; a failure is told, and keeps nothing else from being done.
func TestHome(t *testing.T) {
	k := testKernel(t)
	need(t, "bash", "mkfs.ext4")
	before, after := secretsOf(t, assets+"secrets.yaml"), secretsOf(t, assets+"rotated.yaml")
	disk := userRoot(t, `
home=/home/alice secrets=/home/alice/.config/sops-nix/secrets
# as USER COMMAND...: as su does it, which leaves no trace of a session.
as() { u=$1; shift; su -s /bin/sh $u -c "env -i HOME=/home/$u USER=$u PATH=/usr/bin:/bin $*"; }
user() { as alice XDG_RUNTIME_DIR=/run/user/1000 systemctl --user "$@"; }
# activate NAME ARGUMENT...: what it says goes to the console.
activate() { n=$1; shift; as alice "$@" > /run/said 2>&1; s=$?; cat /run/said; result $n ok "exit status $s"; }
until_true() { i=0; until "$@" 2>/dev/null; do i=$((i+1)); [ $i -lt 600 ] || return 1; sleep 0.1; done; }
log_in() { loginctl enable-linger alice; until_true [ -S /run/user/1000/systemd/private ]; until_true [ -s /run/user/1000/app-seen ]; }
gone() { ! [ -e /run/user/1000 ]; }
log_out() { loginctl disable-linger alice; until_true gone; }
seen() { result $1 ok "$(cut -d' ' -f1 /run/user/1000/app-seen) $(user is-active app.service)"; }
invocation() { user show -p InvocationID app.service; }
said() { if grep -q "$2" /run/said; then result $1 ok said; else result $1 ok "not said"; fi; }
look() { describe $secrets/test_key $secrets/rendered/app/app.conf $home/.config/app/password /run/user/1000/gone | sed "s/^RESULT /RESULT $1:/"; }
chown -R alice:alice $home; chown bob:bob /home/bob

activate boot activate 1
said boot:later 'installs the secrets at login'
look boot

log_in
look login
result login:link ok "$(readlink -f $home/.config/app/password)"
seen login:seen
result login:units ok "$(user is-active sops-nix.service sops-secrets.target default.target | tr '\n' ' ')"
result login:mode ok "$(stat -c '%a %u' /run/user/1000)"
as bob cat $secrets/test_key /run/user/1000/secrets.d/1/test_key > /run/bob 2>/dev/null
result bob ok "exit status $? $(wc -c < /run/bob)"

invocation > /run/before
activate dry DRY_RUN=1 activate 2
look dry
activate switch activate 2
until_true grep -q `+digest(after("test_key"))+` /run/user/1000/app-seen
look switch
seen switch:seen
invocation > /run/after
if cmp -s /run/before /run/after; then result restarted ok no; else result restarted ok yes; fi
invocation > /run/before
activate again activate 2
invocation > /run/after
if cmp -s /run/before /run/after; then result again:restarted ok no; else result again:restarted ok yes; fi

mv $home/.config/sops/age/keys.txt /keys.txt
activate failing activate 1
said failing:cause 'error: .*test_key'
said failing:told 'Secrets could not be installed'
said failing:rest 'the end'
said failing:trap 'the trap of home-manager'
look failing
mv /keys.txt $home/.config/sops/age/keys.txt
activate mended activate 2

log_out
look logout
log_in
look relogin
seen relogin:seen
result failed ok "$(user list-units --failed --no-legend --plain | tr '\n' ' ')"
result plaintext ok "$(find /home /tmp /var /etc -type f -exec grep -lF -e '`+after("test_key")+`' {} + | tr '\n' ' ')"
`)
	rep := boot(t, vm.Machine{
		Kernel: k, Initrd: plainStageOne(t, k), Memory: 512, Append: systemdAppend,
		Args: vm.Virtio(disk),
	})

	file := func(mode uint32, text string) string { return regular(mode, 1000, 1000, []byte(text)) }
	link := func(to string) string { return "link " + to }
	state := func(when, key, template, password, gone string) map[string]string {
		return map[string]string{
			when + ":/home/alice/.config/sops-nix/secrets/test_key":              key,
			when + ":/home/alice/.config/sops-nix/secrets/rendered/app/app.conf": template,
			when + ":/home/alice/.config/app/password":                           password,
			when + ":/run/user/1000/gone":                                        gone,
		}
	}
	secrets := "/home/alice/.config/sops-nix/secrets/"
	password := link(secrets + "nested/test/file")
	first := []string{
		file(0o400, before("test_key")), file(0o400, "password=another value\n"), password,
		link(secrets + "gone"),
	}
	second := []string{
		file(0o400, after("test_key")), file(0o400, "password=another rotated value\n"), password,
		"missing",
	}
	for when, s := range map[string][]string{
		"boot": {"missing", "missing", "missing", "missing"}, "login": first, "dry": first,
		"switch": second, "failing": second, "logout": {"missing", "missing", password, "missing"},
		"relogin": second,
	} {
		expect(t, rep, state(when, s[0], s[1], s[2], s[3]))
	}
	expect(t, rep, map[string]string{
		"boot": "exit status 0", "boot:later": "said",
		"login:link":  "/run/user/1000/secrets.d/1/nested/test/file",
		"login:seen":  digest(before("test_key")) + " active",
		"login:units": "inactive active active ", "login:mode": "700 1000",
		"bob": "exit status 1 0",
		"dry": "exit status 0", "switch": "exit status 0", "restarted": "yes",
		"switch:seen": digest(after("test_key")) + " active",
		"again":       "exit status 0", "again:restarted": "no",
		"failing": "exit status 1", "failing:cause": "said", "failing:told": "said",
		"failing:rest": "said", "failing:trap": "said",
		"mended": "exit status 0", "relogin:seen": digest(after("test_key")) + " active",
		"failed": "", "plaintext": "",
	})
}

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
