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

	"sops-initrd/initrd"
	"sops-initrd/vmtests/vm"
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
	return sshKey{pem.EncodeToMemory(block), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))}
}

const passphrase = "correct horse battery staple"

// sshStageOne is an initrd with OpenSSH's server, which opens the disk with a passphrase that somebody sends.
func sshStageOne(t *testing.T, k vm.Kernel, client sshKey) *vm.Tree {
	t.Helper()
	s := testSysroot(t)
	tree := &vm.Tree{}
	s.Add(tree, "/usr/sbin/sshd", "/sbin/cryptsetup", "/usr/lib/*-linux-gnu/libnss_files*")
	tree.Busybox()
	tree.File("/etc/passwd", 0o644, []byte("root:*:0:0::/:/bin/sh\nsshd:*:74:74::/run/sshd:/bin/false\n"))
	tree.File("/etc/group", 0o644, []byte("root:x:0:\nsshd:x:74:\n"))
	tree.File("/etc/shells", 0o644, []byte("/bin/sh\n"))
	tree.File("/etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nshadow: files\n"))
	tree.File("/etc/ssh/authorized_keys", 0o600, []byte(client.public+"\n"))
	tree.File("/etc/ssh/sshd_config", 0o600, []byte("HostKey /etc/ssh/host_key\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"+
		"AuthorizedKeysFile /etc/ssh/authorized_keys\nStrictModes no\nPidFile none\n"))
	modules, err := k.AddModules(tree, "virtio_pci", "virtio_net", "virtio_blk", "dm-mod", "dm-crypt", "ecb", "xts")
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
/usr/sbin/sshd -D -e &
sshd=$!
sleep 1
kill -0 $sshd || { echo "sshd did not stay"; finish; }
echo LISTENING
cat /run/passphrase | cryptsetup open --key-file - /dev/vda root && mount /dev/mapper/root /sysroot
describe /sysroot/marker
finish
`))
	return tree
}

// sshTo sends the passphrase to the guest's stage 1, from a client that knows the given host keys only. It tries until somebody
// answers.
func sshTo(ctx context.Context, t *testing.T, port int, client, host sshKey) error {
	dir := t.TempDir()
	identity, known := filepath.Join(dir, "identity"), filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(identity, client.private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", port, host.public), 0o600); err != nil {
		return err
	}
	for {
		cmd := exec.CommandContext(ctx, "ssh", "-F", "none", "-p", fmt.Sprint(port), "-i", identity, "-o", "IdentitiesOnly=yes",
			"-o", "UserKnownHostsFile="+known, "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
			"-o", "ConnectTimeout=20", "root@127.0.0.1", "cat > /run/passphrase")
		cmd.Stdin = strings.NewReader(passphrase)
		out, err := cmd.CombinedOutput()
		// The emulator accepts connections before anybody listens in the guest.
		retry := bytes.Contains(out, []byte("Connection reset")) || bytes.Contains(out, []byte("Connection closed")) ||
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

func TestSSHUnlock_withHostKeyFromSegment(t *testing.T) {
	k := testKernel(t)
	need(t, "ssh", "cryptsetup", "mkfs.ext4")
	client, one, two := newSSHKey(t), newSSHKey(t), newSSHKey(t)
	disk := filepath.Join(t.TempDir(), "disk")
	var content vm.Tree
	content.File("/marker", 0o600, []byte("of the encrypted root"))
	if err := vm.MakeExt4(t.Context(), &content, disk, 8); err != nil {
		t.Fatal(err)
	}
	if err := vm.EncryptDisk(t.Context(), disk, []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
	base := compress(t, "zstd", archive(t, sshStageOne(t, k, client)))
	deliver := func(t *testing.T, image string, key sshKey, mode os.FileMode) {
		install(t, image, initrd.Options{}, initrd.Entry{Path: "/.initrd-secrets/etc/ssh/host_key", Mode: mode, Data: key.private})
	}
	// unlock boots the image. The stranger's client expects another key and has to refuse; then comes the one that knows.
	unlock := func(t *testing.T, image string, expected, other sshKey) {
		port := freePort(t)
		refused, sent := make(chan error, 1), make(chan error, 1)
		m := sshMachine(k, image, disk, port)
		m.OnLine = func(line string) {
			if line == "LISTENING" {
				go func() {
					refused <- sshTo(t.Context(), t, port, client, other)
					sent <- sshTo(t.Context(), t, port, client, expected)
				}()
			}
		}
		rep := boot(t, m)
		expect(t, rep, map[string]string{"/sysroot/marker": regular(0o600, 0, 0, []byte("of the encrypted root"))})
		if err := <-refused; err == nil || !strings.Contains(err.Error(), "Host key verification failed") {
			t.Errorf("a client that expects another host key: %v, want it to refuse", err)
		}
		// The guest powers off as soon as it has the passphrase: how the session ends does not matter.
		<-sent
	}

	image := writeImage(t, base)
	deliver(t, image, one, 0o600)
	t.Run("unlocked", func(t *testing.T) { unlock(t, image, one, two) })
	if !long() {
		return
	}
	t.Run("after rotation", func(t *testing.T) {
		rotated := writeImage(t, base)
		deliver(t, rotated, one, 0o600)
		deliver(t, rotated, two, 0o600)
		unlock(t, rotated, two, one)
	})
	t.Run("after rollback", func(t *testing.T) { unlock(t, image, one, two) })
	t.Run("key that others can read", func(t *testing.T) {
		open := writeImage(t, base)
		deliver(t, open, one, 0o644)
		rep := boot(t, sshMachine(k, open, disk, freePort(t)))
		wantConsole(t, rep, "UNPROTECTED PRIVATE KEY FILE", true)
		wantConsole(t, rep, "sshd did not stay", true)
	})
}

func sshMachine(k vm.Kernel, image, disk string, port int) vm.Machine {
	return vm.Machine{
		Kernel: k, Initrd: image, Memory: 512,
		Args: append(vm.Virtio(disk), "-netdev", fmt.Sprintf("user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", port), "-device", "virtio-net-pci,netdev=n"),
	}
}
