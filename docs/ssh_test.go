package docs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
)

// loopback brings up the loopback interface of a new network namespace.
func loopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatalf("bring up lo: %v", err)
	}
}

// sshd is an SSH server: that of the running host, or that of its initrd.
type sshd struct {
	config   *ssh.ServerConfig
	listener net.Listener
	command  func(command string) *exec.Cmd
}

// newSSHD listens on a port of the loopback interface. The keys are private keys, authorized is a
// file like authorized_keys.
func newSSHD(port int, keys [][]byte, authorized []byte, command func(string) *exec.Cmd) (*sshd, error) {
	s := &sshd{command: command, config: &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for rest := authorized; len(rest) > 0; {
				allowed, _, _, more, err := ssh.ParseAuthorizedKey(rest)
				if err != nil {
					break
				}
				if bytes.Equal(allowed.Marshal(), key.Marshal()) {
					return nil, nil
				}
				rest = more
			}
			return nil, errors.New("not authorized")
		},
	}}
	for _, key := range keys {
		signer, err := ssh.ParsePrivateKey(key)
		if err != nil {
			return nil, err
		}
		s.config.AddHostKey(signer)
	}
	var err error
	if s.listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

func (s *sshd) close() {
	if s != nil {
		_ = s.listener.Close()
	}
}

func (s *sshd) serve(c net.Conn) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		if n.ChannelType() != "session" {
			_ = n.Reject(ssh.UnknownChannelType, "")
			continue
		}
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

// session runs the command of a session.
func (s *sshd) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(r.Type == "env" || r.Type == "pty-req", nil)
			continue
		}
		_ = r.Reply(true, nil)
		var request struct{ Command string }
		_ = ssh.Unmarshal(r.Payload, &request)
		cmd := s.command(request.Command)
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err == nil {
			go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
			err = cmd.Run()
		}
		status := uint32(0)
		if err != nil {
			status = uint32(max(cmd.ProcessState.ExitCode(), 1))
		}
		_, _ = channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
		return
	}
}

// hostSSHD is the SSH server of the running host.
func (s *stage) hostSSHD() (*sshd, error) {
	root := s.root("server01")
	var keys [][]byte
	for _, name := range []string{"ed25519", "rsa"} {
		key, err := os.ReadFile(root + "/etc/ssh/ssh_host_" + name + "_key")
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	authorized, err := os.ReadFile(root + "/root/.ssh/authorized_keys")
	if err != nil {
		return nil, err
	}
	return newSSHD(22, keys, authorized, func(command string) *exec.Cmd {
		cmd := exec.Command("chroot", root, "/bin/bash", "-c", "cd; "+command)
		cmd.Env = environment("root", "/root", serverPath)
		return cmd
	})
}

// bootedInitrd is the SSH server of the initrd that the newest generation boots: with the host key
// that lies in the image, and nothing else of the host.
func (s *stage) bootedInitrd() (*sshd, error) {
	root := s.root("server01")
	var gen generation
	if err := gen.load(root, 0); err != nil {
		return nil, err
	}
	if len(gen.SSHHostKeys) == 0 { // somebody types the passphrase at the console
		return s.hostSSHD()
	}
	files, err := initrdFiles(filepath.Join(root, gen.image()))
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, path := range gen.SSHHostKeys {
		key, ok := files["/.initrd-secrets"+path]
		if !ok {
			return nil, fmt.Errorf("the initrd has no %s", path)
		}
		keys = append(keys, key)
	}
	var authorized bytes.Buffer
	for _, key := range gen.SSHKeys {
		fmt.Fprintln(&authorized, key)
	}
	return newSSHD(gen.SSHPort, keys, authorized.Bytes(), func(command string) *exec.Cmd {
		cmd := exec.Command("chroot", root, "/bin/bash", "-c", "cd; "+command)
		cmd.Env = append(environment("root", "/root", serverPath), "STAGE_INITRD=1")
		return cmd
	})
}

// initrdFiles are the files in the last segment of an image.
func initrdFiles(image string) (map[string][]byte, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	opened, err := initrd.NewImage(f, info.Size())
	if err != nil {
		return nil, err
	}
	layout, err := opened.Layout(context.Background())
	if err != nil {
		return nil, err
	}
	last := layout.Parts[len(layout.Parts)-1]
	if last.Segment == nil || !last.Segment.Whole {
		return nil, fmt.Errorf("%s has no whole segment of secrets", image)
	}
	files := map[string][]byte{}
	archive := cpio.NewReader(io.NewSectionReader(f, last.Offset, last.Size))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Mode.IsRegular() {
			data, err := io.ReadAll(archive)
			if err != nil {
				return nil, err
			}
			files[filepath.Join("/", h.Name)] = data
		}
	}
}
