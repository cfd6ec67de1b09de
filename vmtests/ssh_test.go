package vmtests

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// sshKey is a key pair as OpenSSH writes it.
type sshKey struct {
	private []byte
	public  string // "ssh-ed25519 AAAA…"
}

func newSSHKey(t *testing.T) sshKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{
		pem.EncodeToMemory(block),
		strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
	}
}

const passphrase = "correct horse battery staple"

// sshServer is a server of stage 1 with its ways.
type sshServer struct {
	name    string
	run     string // in the background, with the host key at hostKeyPath
	install func(t *testing.T, tree *vm.Tree, client sshKey)
	store   func(t *testing.T, key sshKey) []byte // the host key as the server reads it
	binary  bool                                  // it is no text
}

const hostKeyPath = "/etc/ssh/host_key"

var openSSH = sshServer{
	name: "OpenSSH", run: "/usr/sbin/sshd -D -e",
	install: func(t *testing.T, tree *vm.Tree, client sshKey) {
		testSysroot(t).Add(tree, "/usr/sbin/sshd")
		tree.File("/etc/ssh/authorized_keys", 0o600, []byte(client.public+"\n"))
		tree.File("/etc/ssh/sshd_config", 0o600,
			[]byte("HostKey "+hostKeyPath+"\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"+
				"AuthorizedKeysFile /etc/ssh/authorized_keys\nStrictModes no\nPidFile none\n"))
	},
	store: func(_ *testing.T, key sshKey) []byte { return key.private },
}

// dropbear has a format of its own for host keys, which its dropbearconvert makes from OpenSSH's.
var dropbear = sshServer{
	name: "dropbear", run: "/usr/sbin/dropbear -F -E -s -j -k -r " + hostKeyPath,
	install: func(t *testing.T, tree *vm.Tree, client sshKey) {
		testSysroot(t).Add(tree, "/usr/sbin/dropbear")
		tree.File("/root/.ssh/authorized_keys", 0o600, []byte(client.public+"\n"))
		tree.Dir("/root/.ssh", 0o700)
		tree.Dir("/root", 0o700)
	},
	store: func(t *testing.T, key sshKey) []byte {
		dir := t.TempDir()
		theirs, own := filepath.Join(dir, "openssh"), filepath.Join(dir, "dropbear")
		writeFile(t, theirs, 0o600, key.private)
		convert, err := testSysroot(t).Command(t.Context(), "/usr/bin/dropbearconvert", "openssh",
			"dropbear", theirs, own)
		if err != nil {
			t.Fatal(err)
		}
		run(t, convert)
		data, err := os.ReadFile(own)
		if err != nil {
			t.Fatal(err)
		}
		return data
	},
	binary: true,
}

// provide has the program put the host key into the image, from a sops file.
func (s sshServer) provide(t *testing.T, image string, key sshKey, mode string,
	options ...string,
) error {
	t.Helper()
	return provide(t, image, hostKeyPath, mode, s.store(t, key), s.binary, options...)
}

// stageOne is an initrd with the server, which opens the disk with a passphrase that somebody
// sends, and goes on there.
func (s sshServer) stageOne(t *testing.T, k vm.Kernel, client sshKey) *vm.Tree {
	t.Helper()
	tree := &vm.Tree{}
	testSysroot(t).Add(tree, "/sbin/cryptsetup", "/usr/lib/*-linux-gnu/libnss_files*")
	s.install(t, tree, client)
	tree.Busybox()
	tree.File("/etc/passwd", 0o644,
		[]byte("root:*:0:0::/root:/bin/sh\nsshd:*:74:74::/run/sshd:/bin/false\n"))
	tree.File("/etc/group", 0o644, []byte("root:x:0:\nsshd:x:74:\n"))
	tree.File("/etc/shells", 0o644, []byte("/bin/sh\n"))
	tree.File("/etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nshadow: files\n"))
	modules, err := k.AddModules(tree, "virtio_pci", "virtio_net", "virtio_blk", "dm-mod", "dm-crypt",
		"ecb", "xts")
	if err != nil {
		t.Fatal(err)
	}
	tree.File("/init", 0o755, []byte(vm.Prelude+`
for m in `+strings.Join(modules, " ")+`; do insmod $m || result $m fail; done
cd /.initrd-secrets
find . -type f | while read -r f; do mkdir -p "$(dirname "/$f")"; cp -p "$f" "/$f"; done
cd /
mkdir -p /run/sshd /run/cryptsetup /sysroot /dev/pts
mount -t devpts devpts /dev/pts
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
mkfifo /run/passphrase
`+s.run+` &
server=$!
while kill -0 $server 2>/dev/null && ! cat /proc/net/tcp* | grep -q ':0016 .* 0A '; do sleep 0.2; done
kill -0 $server 2>/dev/null || { echo "the server did not stay"; finish; }
echo LISTENING
cat /run/passphrase | cryptsetup open --key-file - /dev/vda root && mount -t ext4 /dev/mapper/root /sysroot || { echo "the disk stays closed"; finish; }
describe `+hostKeyPath+`
kill $server
umount /dev/pts
for m in proc sys dev; do mount --move /$m /sysroot/$m; done
exec switch_root /sysroot /sbin/init
`))
	return tree
}

// sshTo sends the passphrase to the guest's stage 1, from a client that knows the given host keys
// only. It tries until somebody answers.
func sshTo(ctx context.Context, t *testing.T, port int, client, host sshKey) error {
	dir := t.TempDir()
	identity, known := filepath.Join(dir, "identity"), filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(identity, client.private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", port, host.public),
		0o600); err != nil {
		return err
	}
	for {
		cmd := exec.CommandContext(ctx, "ssh", "-F", "none", "-p", fmt.Sprint(port), "-i", identity, "-o",
			"IdentitiesOnly=yes",
			"-o", "UserKnownHostsFile="+known, "-o", "GlobalKnownHostsFile=none", "-o",
			"StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
			"-o", "ConnectTimeout=20", "root@127.0.0.1", "cat > /run/passphrase")
		cmd.Stdin = strings.NewReader(passphrase)
		out, err := cmd.CombinedOutput()
		// The emulator accepts connections before anybody listens in the guest.
		retry := bytes.Contains(out, []byte("Connection reset")) ||
			bytes.Contains(out, []byte("Connection closed")) ||
			bytes.Contains(out, []byte("timed out")) || bytes.Contains(out, []byte("Connection refused"))
		if err == nil {
			return nil
		}
		if !retry || ctx.Err() != nil {
			return fmt.Errorf("ssh: %w: %s", err, out)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSSHUnlock sends the passphrase of the disk to a server in stage 1 that proves who it is with
// a key from a sops file, and sees the machine come up to multi-user.target.
func TestSSHUnlock(t *testing.T) {
	k := testKernel(t)
	need(t, "ssh", "cryptsetup", "mkfs.ext4")
	client, one, two := newSSHKey(t), newSSHKey(t), newSSHKey(t)
	root := systemdRoot(t)
	root.File("/marker", 0o600, []byte("of the encrypted root"))
	probe(root, "multi-user.target", "multi-user.target", `
result multi-user ok "$(systemctl is-active multi-user.target)"
describe /marker `+hostKeyPath+` /.initrd-secrets | sed 's/^RESULT /RESULT root:/'
`)
	disk := encrypted(t, root, 96, []byte(passphrase))

	for _, s := range []sshServer{openSSH, dropbear} {
		t.Run(s.name, func(t *testing.T) {
			base := compress(t, "zstd", archive(t, s.stageOne(t, k, client)))
			provide := func(t *testing.T, image string, key sshKey) {
				t.Helper()
				if err := s.provide(t, image, key, "0400"); err != nil {
					t.Fatal(err)
				}
			}
			// The image of the first generation is kept; that of the second began as a copy of it.
			first := writeImage(t, base)
			provide(t, first, one)
			data, err := os.ReadFile(first)
			if err != nil {
				t.Fatal(err)
			}
			second := writeImage(t, data)
			provide(t, second, two)

			t.Run("after rotation", func(t *testing.T) { s.unlock(t, k, second, disk, client, two, one) })
			if long() {
				t.Run("after rollback", func(t *testing.T) { s.unlock(t, k, first, disk, client, one, two) })
			}
		})
	}

	// one that no other key has
	line := func(key sshKey) []byte { return bytes.Split(key.private, []byte("\n"))[2] }
	noPlaintext(t, disk, map[string][]byte{
		"passphrase": []byte(passphrase), "first key": line(one),
		"second key": line(two),
	})

	t.Run("key that others can read", func(t *testing.T) {
		image := writeImage(t, compress(t, "zstd", archive(t, openSSH.stageOne(t, k, client))))
		err := openSSH.provide(t, image, one, "0644")
		if err == nil || !strings.Contains(err.Error(), "--allow-loose-keys") {
			t.Errorf("a private key with mode 0644: %v, want it refused", err)
		}
		if err := openSSH.provide(t, image, one, "0644", "--allow-loose-keys"); err != nil {
			t.Fatal(err)
		}
		rep := boot(t, sshMachine(k, image, disk, freePort(t)))
		wantConsole(t, rep, "UNPROTECTED PRIVATE KEY FILE", true)
		wantConsole(t, rep, "the server did not stay", true)
	})
	if !long() {
		return
	}
	t.Run("OpenSSH's format for dropbear", func(t *testing.T) {
		image := writeImage(t, compress(t, "zstd", archive(t, dropbear.stageOne(t, k, client))))
		if err := openSSH.provide(t, image, one, "0400"); err != nil {
			t.Fatal(err)
		}
		rep := boot(t, sshMachine(k, image, disk, freePort(t)))
		wantConsole(t, rep, "the server did not stay", true)
	})
}

// unlock boots the machine. A client that expects the other key has to refuse; then comes one that
// expects the right one.
func (s sshServer) unlock(t *testing.T, k vm.Kernel, image, disk string, client, expected,
	other sshKey,
) {
	t.Helper()
	port := freePort(t)
	m := sshMachine(k, image, disk, port)
	refused, sent := make(chan error, 1), make(chan error, 1)
	m.OnLine = func(line string) {
		if line == "LISTENING" {
			go func() {
				refused <- sshTo(t.Context(), t, port, client, other)
				sent <- sshTo(t.Context(), t, port, client, expected)
			}()
		}
	}
	rep := boot(t, m)
	expect(t, rep, map[string]string{
		hostKeyPath:             regular(0o400, 0, 0, s.store(t, expected)),
		"root:/marker":          regular(0o600, 0, 0, []byte("of the encrypted root")),
		"root:" + hostKeyPath:   "missing",
		"root:/.initrd-secrets": "missing",
		"multi-user":            "active",
	})
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("a client that expects another host key: %v, want it to refuse", err)
	}
	// Stage 1 ends as soon as it has the passphrase: how the session ends does not matter.
	<-sent
}

func sshMachine(k vm.Kernel, image, disk string, port int) vm.Machine {
	return vm.Machine{
		Kernel: k, Initrd: image, Memory: 512,
		Args: append(vm.Virtio(disk), "-netdev",
			fmt.Sprintf("user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", port), "-device",
			"virtio-net-pci,netdev=n"),
	}
}
