// Package docs tests the documentation. Its commands run, in the order of SUMMARY.md, on two
// machines with the real programs; its configurations are examples that nixos/tests/eval evaluates.
package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
	"github.com/sops-initrd/sops-initrd/internal/test/testns"
)

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); standins[name] != nil {
		os.Exit(runStandin(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// installPage is played on machines of its own, with a real Nix.
const installPage = "how-to/install.md"

// TestJourney plays the pages in the order of SUMMARY.md on one pair of machines: each page finds
// what the pages before it left. DOCS_UNTIL=PAGE stops after that page.
func TestJourney(t *testing.T) {
	bin := prepare(t)
	if !testns.Inside(t, "STAGE_BIN="+bin) {
		return
	}
	s := start(t, bin)
	for _, page := range summary(t) {
		if page == installPage || !hasTranscript(t, page) {
			continue
		}
		if !t.Run(strings.TrimSuffix(page, ".md"), func(t *testing.T) {
			s.play(t, page)
			s.unharmed(t)
		}) || page == os.Getenv("DOCS_UNTIL") {
			return
		}
	}
	s.compareEvaluations(t)
}

// TestInstall plays the page about installing the module.
func TestInstall(t *testing.T) {
	scripttest.Need(t, "nix", "nix-prefetch-url")
	bin := prepare(t)
	if testns.Inside(t, "STAGE_BIN="+bin) {
		s := start(t, bin)
		s.installNix(t)
		s.play(t, installPage)
	}
}

// prepare skips the test where pages cannot be played, and builds the programs once.
func prepare(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("STAGE_BIN"); bin != "" {
		return bin
	}
	if testing.Short() {
		t.Skip("takes long: pages are played on two machines")
	}
	testns.Need(t)
	scripttest.Need(t, "bash", "ssh", "ssh-keygen", "ssh-keyscan", "git", "gpg", "cryptsetup",
		"unshare", "dpkg", "dropbearconvert")
	if os.Getenv("NIXPKGS_LIB") != "" {
		scripttest.Need(t, "nix-instantiate")
	}
	t.Parallel()
	return programs(t)
}

func hasTranscript(t *testing.T, page string) bool {
	t.Helper()
	for _, b := range blocks(t, page) {
		if b.lang == "console" {
			return true
		}
	}
	return false
}

// programs builds what users have: the programs of this repository, sops and age-keygen. The
// stand-ins are this test's own binary.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	// go build links anew only what has changed since it wrote there.
	built, err := filepath.Abs("../build/docs-bin")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-o", built+"/",
		"github.com/sops-initrd/sops-initrd/cmd/...", "filippo.io/age/cmd/age-keygen").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(to, from string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(bin, to), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append(ourPrograms, "age-keygen") {
		copyTo(name, filepath.Join(built, name))
	}
	copyTo("sops", testkeys.SOPS(t))
	copyTo("wg", wireguardTool(t))
	copyTo("stage", self)
	for name := range standins {
		if err := os.Symlink("stage", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// start makes the machines, in namespaces of their own.
func start(t *testing.T, bin string) *stage {
	t.Helper()
	// Sockets belong to the network namespace of the thread that makes them. The thread ends with
	// this test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	loopback(t)
	network, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = network.Close() })
	s := newStage(t, bin)
	s.network = network
	if s.ssh, err = s.hostSSHD(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ssh.close() })
	return s
}

// play runs the commands of a page and compares what they print.
func (s *stage) play(t *testing.T, page string) {
	t.Helper()
	runtime.LockOSThread() // that of a subtest
	if err := unix.Setns(int(s.network.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	all := blocks(t, page)
	for i, b := range all {
		if path := b.attrs["file"]; path != "" {
			s.write(t, b, path)
		}
		if b.lang != "console" {
			continue
		}
		for _, c := range b.commands(t) {
			s.prepareEditor(t, all[i+1:])
			x := s.admin
			if c.machine == "server01" {
				x = s.server
			}
			output, status := x.run(t, c.text, c.typed)
			t.Logf("%s:%d: on %s: %s\n%s", page, c.line, c.machine, c.text, output)
			if (status != 0) != c.fails() || !c.matches(output) {
				t.Fatalf("%s:%d: %q: exit status %d, printed\n%s", page, c.line, c.text, status, output)
			}
			if err := s.proceed(); err != nil {
				t.Fatalf("%s:%d: %v", page, c.line, err)
			}
			s.noKeyInRepository(t, b, c)
		}
	}
}

// write puts a block into a file of the administrator's working directory.
func (s *stage) write(t *testing.T, b *block, path string) {
	t.Helper()
	text := strings.ReplaceAll(b.text, "'", `'\''`)
	command := "mkdir -p \"$(dirname '" + path + "')\" && printf %s '" + text + "' >'" + path + "'"
	if out, status := s.admin.run(t, command, ""); status != 0 {
		t.Fatalf("%s: %s", b, out)
	}
}

// prepareEditor makes the editor type the next block that is marked for it.
func (s *stage) prepareEditor(t *testing.T, next []*block) {
	t.Helper()
	for _, b := range next {
		if _, marked := b.attrs["editor"]; marked {
			file := s.admin.root + stageDir + "/state/edit"
			if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if b.lang == "console" {
			return
		}
	}
}

// proceed lets the host do what a command has asked of it: reboot into its initrd, go on from
// there when the disk is open, start its SSH server again.
func (s *stage) proceed() (err error) {
	root := s.root("server01")
	switch {
	case os.Remove(root+rebootMarker) == nil:
		s.ssh.close()
		s.ssh, err = s.bootedInitrd()
	case os.Remove(root+unlockedMarker) == nil, os.Remove(root+restartMarker) == nil:
		s.ssh.close()
		s.ssh, err = s.hostSSHD()
	}
	return err
}
