package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// moments is a machine whose boot directory is looked at again and again while a loader is
// being installed.
type moments struct {
	host
	loader string   // --loader
	script []string // the re-enacted installer
}

// environment is that of the re-enactments.
func (m moments) environment() []string {
	return append(os.Environ(), "WORK="+m.dir, "BOOTS=boot", "AGE="+testRecipient,
		"PATH="+m.path("bin")+":"+os.Getenv("PATH"))
}

func (m moments) sh(args ...string) {
	m.Helper()
	cmd := exec.Command("sh", args...)
	cmd.Env, cmd.Dir = m.environment(), m.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// installer is install-loader for these generations, the last of which is the default.
func (m moments) installer(generations ...string) []string {
	fallback := filepath.Join("store", generations[len(generations)-1])
	args := append([]string{
		program, "install-loader", "--loader", m.loader, "--boot",
		m.path("boot"), "--efivars", m.path("efivars"), "--state", m.path("state"), "--", "sh",
	}, m.script...)
	return append(append(args, generations...), fallback)
}

func (m moments) do(command []string) ([]byte, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = m.environment(), m.dir
	return cmd.CombinedOutput()
}

// signature tells two states of the boot directory apart.
func (m moments) signature() string {
	var b strings.Builder
	_ = filepath.WalkDir(m.path("boot"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}

// states runs a command slowly, and copies every state of the boot directory that can be seen
// meanwhile.
func (m moments) states(command []string) []string {
	m.Helper()
	const calls = "rename,renameat,renameat2,unlink,unlinkat"
	args := append([]string{
		"-f", "-qq", "-o", m.path("trace"), "-e", "trace=" + calls, "-e",
		"inject=" + calls + ":delay_exit=60000",
	}, command...)
	cmd := exec.Command("strace", args...)
	cmd.Env, cmd.Dir = m.environment(), m.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var copies []string
	last := ""
	for {
		select {
		case err := <-ended:
			if err != nil {
				m.Fatalf("%v\n%s", err, out.Bytes())
			}
			return copies
		default:
		}
		now := m.signature()
		if now == last {
			continue
		}
		state := m.path(fmt.Sprintf("states/%d", len(copies)))
		if err := os.MkdirAll(m.path("states"), 0o700); err != nil {
			m.Fatal(err)
		}
		if err := os.Mkdir(state, 0o700); err != nil {
			m.Fatal(err)
		}
		// Files come and go.
		_ = exec.Command("cp", "-a", m.path("boot"), state).Run()
		_ = exec.Command("cp", "-a", m.path("state/installer-ran"), state).Run()
		if m.signature() != now {
			if err := os.RemoveAll(state); err != nil {
				m.Fatal(err)
			}
			continue // it changed while it was copied
		}
		copies, last = append(copies, state), now
	}
}

// values are what the systems have; every other value in an image is somebody else's.
var values = map[string]string{"g1": "first", "g2": "second", "g3": "third"}

// check wants every entry's initrd to be there, with the secrets of its own system or none. all
// wants them to have theirs.
func (m moments) check(when string, all bool) {
	m.Helper()
	status, err := bootloader.Look(m.Context(), bootloader.LookOptions{
		Boots: []string{m.path("boot")}, Variables: m.path("efivars"),
		Hook: initrdsecrets.Options{State: m.path("state"), Getenv: os.Getenv, Warn: func(string,
			...string) {
		}},
	})
	if err != nil {
		m.Fatalf("%s: %v", when, err)
	}
	if len(status.Entries) < 2 {
		m.Errorf("%s: %d entries", when, len(status.Entries))
	}
	for _, e := range status.Entries {
		data, err := os.ReadFile(e.Image)
		if err != nil {
			m.Errorf("%s: entry %q: %v", when, e.Title, err)
			continue
		}
		if e.State != bootloader.Whole && (all || e.State != bootloader.NoSecrets) {
			m.Errorf("%s: entry %q is %s", when, e.Title, e.State)
		}
		for system, value := range values {
			if bytes.Contains(data, []byte(value)) && system != filepath.Base(e.System) {
				m.Errorf("%s: entry %q of %s has the secret of %s", when, e.Title, e.System, system)
			}
		}
	}
	if all && (len(status.Entries) < 3 || len(status.Leftovers) > 0) {
		m.Errorf("%s: %d entries, leftovers %q", when, len(status.Entries), status.Leftovers)
	}
}

// installedAgain says from which states is installed again in an ordinary run: one of so many.
// VMTESTS_ALL=1 takes all.
const installedAgain = 4

// TestInstallLoader_atEveryMoment looks at all that a crash or a power cut during an
// installation could leave, as far as it is in the order of changes (package initrd has the
// reordering of what was not synced), and installs once more from there. The installers are
// re-enactments.
func TestInstallLoader_atEveryMoment(t *testing.T) {
	t.Parallel()
	if ok, err := haveTool("strace"); err != nil {
		t.Fatal(err)
	} else if !ok {
		t.Skip("strace is not installed")
	}
	loaders, err := filepath.Abs("testdata/loaders")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, loader string
		script       []string
	}{
		{"extlinux", "extlinux", []string{"extlinux.sh"}},
		{"rEFInd", "refind", []string{"refind.sh"}},
		{"Raspberry Pi, files at the top", "raspberrypi", []string{"raspberrypi.sh", "old"}},
		{"Raspberry Pi, directories", "raspberrypi", []string{"generational.sh"}},
		{"entries of the Boot Loader Specification", "systemd-boot", []string{"bls.sh"}},
		{"EFI shell scripts", "efi-boot-stub", []string{"efistub.sh"}},
		{"listed", "listed", []string{"listing.sh"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := moments{newHost(t), c.loader, append([]string{filepath.Join(loaders, c.script[0])},
				c.script[1:]...)}
			for _, dir := range []string{"bin", "boot"} {
				if err := os.Mkdir(m.path(dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(m.sops, m.path("bin/sops")); err != nil {
				t.Fatal(err)
			}
			for i, g := range []string{"g1", "g2", "g3"} {
				m.sh(filepath.Join(loaders, "system.sh"), g, string("ABB"[i]), values[g], testRecipient,
					"key.txt")
			}
			if out, err := m.do(m.installer("g1", "g2")); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			states := m.states(m.installer("g1", "g2", "g3"))
			m.check("in the end", true)
			if len(states) < 2 {
				t.Errorf("only %d states were seen", len(states))
			}
			for i, state := range states {
				when := fmt.Sprintf("state %d of %d", i, len(states))
				if out, err := exec.Command("sh", "-c",
					`cd "$2" && rm -rf boot state/installer-ran && cp -a "$1/boot" . && { [ ! -e "$1/installer-ran" ] || cp -a "$1/installer-ran" state; }`, "sh", state, m.dir).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				m.check(when, false)
				if i%installedAgain != 0 && os.Getenv("VMTESTS_ALL") == "" {
					continue
				}
				if out, err := m.do(m.installer("g1", "g2", "g3")); err != nil {
					t.Errorf("%s: installed again: %v\n%s", when, err, out)
				}
				m.check(when+", installed again", true)
			}
		})
	}
}
