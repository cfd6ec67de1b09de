package docs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commandTimeout is longer than any command of the documentation takes here.
const commandTimeout = 2 * time.Minute

// stage is what the pages are played on: the machine of an administrator and a host. Each is a
// chroot over a copy of this system, in which everything may be changed.
type stage struct {
	dir      string
	admin    *session
	server   *session
	sessions []*session
	ssh      *sshd    // of the host, or of its initrd
	network  *os.File // the namespace that both are in
}

// session is a shell on a machine.
type session struct {
	root string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// stageDir is a directory that both machines have. Its bin has all programs and is in nobody's
// PATH.
const stageDir = "/.stage"

// Where a login finds programs: on the administrator's machine what is in a base system and what
// Nix has fetched, on the host what the system has.
const (
	adminPath  = shellDir + ":" + stageDir + "/standins:" + stageDir + "/newcomer"
	serverPath = systemDir + ":" + stageDir + "/standins:/usr/sbin:/usr/bin:/sbin:/bin"
	systemDir  = "/run/current-system/sw/bin"
)

// newStage builds the machines. It needs a mount namespace of its own.
func newStage(t *testing.T, bin string) *stage {
	t.Helper()
	s := &stage{dir: t.TempDir()}
	mount(t, "tmpfs", s.dir, "tmpfs", 0, "mode=0755")
	for _, name := range []string{"admin", "server01"} {
		s.machine(t, name, bin)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "docs/stage/machines.bash", s.root("admin"), s.root("server01"))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("stage/machines.bash: %v\n%s", err, out)
	}
	s.admin = s.shell(t, "admin", "--userspec=4000:4000", environment("alice", "/home/alice", adminPath))
	s.server = s.shell(t, "server01", "--userspec=0:0", environment("root", "/root", serverPath))
	return s
}

func (s *stage) root(machine string) string { return filepath.Join(s.dir, machine, "root") }

// compareEvaluations compares what was evaluated with what the repository has of it, or, with
// UPDATE_SCRIPTS set, brings that up to date.
func (s *stage) compareEvaluations(t *testing.T) {
	t.Helper()
	const kept = "stage/evaluated"
	got, want := map[string]string{}, map[string]string{}
	for dir, files := range map[string]map[string]string{kept: want, s.root("admin") + evaluationsDir: got} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = string(data)
		}
	}
	if maps.Equal(got, want) {
		return
	}
	if os.Getenv("UPDATE_SCRIPTS") == "" {
		t.Errorf("%s is out of date: run the test with UPDATE_SCRIPTS=1 and NIXPKGS_LIB", kept)
		return
	}
	err := errors.Join(os.RemoveAll(kept), os.Mkdir(kept, 0o755))
	for name, data := range got {
		err = errors.Join(err, os.WriteFile(filepath.Join(kept, name), []byte(data), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// machine makes a chroot: this system below, a directory in memory above, and nothing of what is
// in homes, /run and /tmp.
func (s *stage) machine(t *testing.T, name, bin string) {
	t.Helper()
	dir, root := filepath.Join(s.dir, name), s.root(name)
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir))
	for _, d := range []string{"/root", "/home", "/tmp", "/run", "/boot", "/sys", "/var/lib"} {
		if err := os.MkdirAll(root+d, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, "tmpfs", root+d, "tmpfs", 0, "mode=0755")
	}
	if err := os.Chmod(root+"/tmp", 0o1777); err != nil {
		t.Fatal(err)
	}
	mount(t, "proc", root+"/proc", "proc", 0, "")
	mount(t, "tmpfs", root+"/dev", "tmpfs", 0, "mode=0755")
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		var st unix.Stat_t
		if err := unix.Stat("/dev/"+d, &st); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(root+"/dev/"+d, st.Mode, int(st.Rdev)); err != nil {
			t.Fatalf("mknod %s: %v", d, err)
		}
		if err := os.Chmod(root+"/dev/"+d, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(root+"/dev/pts", 0o755), os.Mkdir(root+"/dev/shm", 0o755),
		os.Chmod(root+"/dev/shm", 0o1777)); err != nil {
		t.Fatal(err)
	}
	mount(t, "devpts", root+"/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
	if err := os.Symlink("pts/ptmx", root+"/dev/ptmx"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/self/fd", root+"/dev/fd"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/self/fd/0", root+"/dev/stdin"); err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	binds := map[string]string{"bin": bin, "repo": repo}
	if lib := os.Getenv("NIXPKGS_LIB"); lib != "" {
		binds["nixpkgs-lib"] = lib
	}
	for to, from := range binds {
		at := filepath.Join(root, stageDir, to)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, from, at, "", unix.MS_BIND, "")
	}
	s.programs(t, name)
}

// programs puts what each machine has into directories of its PATH: stand-ins for what NixOS or
// Nix would bring and, for the administrator, the programs of a base system with git and ssh. What
// a page needs beyond these, it has to say.
func (s *stage) programs(t *testing.T, machine string) {
	t.Helper()
	links := func(dir string, paths ...string) {
		err := os.MkdirAll(s.root(machine)+dir, 0o755)
		for _, path := range paths {
			err = errors.Join(err, os.Symlink(path, filepath.Join(s.root(machine)+dir, filepath.Base(path))))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	standin := func(names ...string) {
		for _, name := range names {
			links(stageDir+"/standins", stageDir+"/bin/"+name)
		}
	}
	if machine == "server01" {
		standin("nix", "nix-collect-garbage", "stage-switch", "reboot", "systemctl", "systemd-tty-ask-password-agent")
		return
	}
	standin("nix")
	out, err := exec.Command("dpkg", "-L", "bash", "coreutils", "diffutils", "findutils", "grep", "sed",
		"tar", "gzip", "util-linux", "git", "openssh-client", "nix-bin").Output()
	if err != nil {
		t.Fatalf("dpkg -L: %v", err)
	}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		if slices.Contains([]string{"/bin", "/usr/bin", "/sbin", "/usr/sbin"}, filepath.Dir(path)) && filepath.Base(path) != "nix" {
			links(stageDir+"/newcomer", path)
		}
	}
}

func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mount %s at %s: %v", source, target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

// environment is that of a new user: what a login sets, and an editor that types what the page
// shows.
func environment(user, home, path string) []string {
	return []string{
		"USER=" + user, "HOME=" + home, "LANG=C.UTF-8", "EDITOR=" + stageDir + "/bin/stage-editor",
		"SHELL=/bin/bash", "TERM=dumb", "PATH=" + path,
	}
}

// shell starts a shell on a machine.
func (s *stage) shell(t *testing.T, machine, who string, env []string) *session {
	t.Helper()
	x := &session{root: s.root(machine)}
	x.cmd = exec.Command("chroot", who, x.root, "/bin/bash", "--norc", "--noprofile")
	x.cmd.Env = env
	in, err := x.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	x.cmd.Stderr = x.cmd.Stdout
	x.in, x.out = in, bufio.NewReader(out)
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = x.in.Close()
		done := make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, out); _ = x.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = x.cmd.Process.Kill()
		}
	})
	s.sessions = append(s.sessions, x)
	if _, status := x.run(t, "cd", ""); status != 0 {
		t.Fatalf("%s: no home directory", machine)
	}
	return x
}

// run types a command into the shell and returns all it prints and its exit status. The command
// reads typed.
func (x *session) run(t *testing.T, command, typed string) (output string, status int) {
	t.Helper()
	const input, end = "/tmp/.typed", "\x1eend "
	if typed != "" {
		typed += "\n"
	}
	if err := os.WriteFile(x.root+input, []byte(typed), 0o644); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		text   string
		status int
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		var text strings.Builder
		_, a.err = fmt.Fprintf(x.in, "{\n%s\n} <%s\nprintf '\\036end %%d\\n' $?\n", command, input)
		for a.err == nil {
			var line string
			line, a.err = x.out.ReadString('\n')
			before, code, done := strings.Cut(line, end)
			text.WriteString(before)
			if done {
				_, a.err = fmt.Sscanf(code, "%d\n", &a.status)
				break
			}
		}
		a.text = text.String()
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			t.Fatalf("%q: the shell ended: %v\n%s", command, a.err, a.text)
		}
		return a.text, a.status
	case <-time.After(commandTimeout):
		_ = x.cmd.Process.Kill()
		a := <-answered
		t.Fatalf("%q takes longer than %v\n%s", command, commandTimeout, a.text)
		return "", 0
	}
}
