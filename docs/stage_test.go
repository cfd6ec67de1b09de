package docs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commandTimeout is longer than any command of the documentation takes here.
const commandTimeout = 2 * time.Minute

// directives say what a page needs: a comment of NAME: VALUE pairs.
//
//	stage: infra         what stage/infra.bash makes is there, in ~/infra
//	module: teams.nix    so is this example, as a module
//	machine: newcomer    the administrator's machine has Nix, git and ssh, and what the page says to install; nothing else
//	nix: real            Nix is the real one, and downloads from a stand-in for GitHub
type directives map[string]string

func directivesOf(text string) directives {
	d := directives{}
	for _, m := range regexp.MustCompile(`<!-- ((?:[a-z]+: [a-z.-]+(?:, )?)+) -->`).FindAllStringSubmatch(text, -1) {
		for pair := range strings.SplitSeq(m[1], ", ") {
			name, value, _ := strings.Cut(pair, ": ")
			d[name] = value
		}
	}
	return d
}

// stage is what a page is played on: the machine of an administrator and a host, each a chroot over a copy of this system, or, for the
// administrator, of one with much less, in which everything may be changed.
type stage struct {
	directives
	dir      string
	admin    *session
	server   *session
	sessions []*session
}

// session is a shell on a machine.
type session struct {
	root string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// stageDir is a directory that both machines have: the programs, and a switch for reboots.
const stageDir = "/.stage"

// newStage builds the machines. It needs a mount namespace of its own.
func newStage(t *testing.T, bin string, d directives) *stage {
	t.Helper()
	s := &stage{dir: t.TempDir(), directives: d}
	lower := map[string]string{"admin": "/", "server01": "/"}
	if d["machine"] == "newcomer" {
		lower["admin"] = newcomer(t)
	}
	mount(t, "tmpfs", s.dir, "tmpfs", 0, "mode=0755")
	for _, name := range []string{"admin", "server01"} {
		s.machine(t, name, lower[name], bin)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "docs/stage/machines.bash", s.root("admin"), s.root("server01"))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("stage/machines.bash: %v\n%s", err, out)
	}
	programs := stageDir + "/bin"
	if d["machine"] == "newcomer" {
		s.standins(t)
		programs = shellDir + ":" + stageDir + "/standins"
	}
	s.admin = s.shell(t, "admin", "--userspec=4000:4000", "/home/alice", "alice", programs)
	s.server = s.shell(t, "server01", "--userspec=0:0", "/root", "root", stageDir+"/bin")
	return s
}

func (s *stage) root(machine string) string { return filepath.Join(s.dir, machine, "root") }

// compareEvaluations compares what was evaluated with what the repository has of it, or, with UPDATE_SCRIPTS set, brings that up
// to date.
func (s *stage) compareEvaluations(t *testing.T) {
	t.Helper()
	for _, x := range s.sessions {
		dir := x.root + evaluationsDir
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			kept := filepath.Join("stage/evaluated", e.Name())
			want, err := os.ReadFile(kept)
			if err == nil && bytes.Equal(want, got) {
				continue
			}
			if os.Getenv("UPDATE_SCRIPTS") == "" {
				t.Errorf("%s is out of date: run the test with UPDATE_SCRIPTS=1 and NIXPKGS_LIB", kept)
			} else if err := os.WriteFile(kept, got, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

// machine makes a chroot: the system lower below, a directory in memory above, and nothing of what is in homes, /run and /tmp.
func (s *stage) machine(t *testing.T, name, lower, bin string) {
	t.Helper()
	dir, root := filepath.Join(s.dir, name), s.root(name)
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir))
	for _, d := range []string{"/root", "/home", "/tmp", "/run", "/boot", "/sys", "/var/lib"} {
		if err := os.MkdirAll(root+d, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, "tmpfs", root+d, "tmpfs", 0, "mode=0755")
	}
	if err := os.Chmod(root+"/tmp", 0o1777); err != nil {
		t.Fatal(err)
	}
	if err := accounts(root); err != nil {
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
	if err := os.Mkdir(root+"/dev/pts", 0o755); err != nil {
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

// environment is that of a new user: nothing but what a login sets, and an editor that types what the page shows.
func environment(user, home, programs string) []string {
	return []string{
		"USER=" + user, "HOME=" + home, "LANG=C.UTF-8", "EDITOR=stage-editor", "SHELL=/bin/bash", "TERM=dumb",
		"PATH=" + programs + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
}

// shell starts a shell on a machine.
func (s *stage) shell(t *testing.T, machine, who, home, user, programs string) *session {
	t.Helper()
	x := &session{root: s.root(machine)}
	x.cmd = exec.Command("chroot", who, x.root, "/bin/bash", "--norc", "--noprofile")
	_, page, _ := strings.Cut(t.Name(), "/")
	x.cmd.Env = append(environment(user, home, programs), "STAGE_NAME="+page+"."+machine)
	if s.directives["nix"] == "real" {
		x.cmd.Env = append(x.cmd.Env, nixEnvironment...)
	}
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

// run types a command into the shell and returns all it prints and its exit status. The command reads typed.
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
