package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// pluginMain is a plugin of age. Its identities hold an age key, its recipients an age recipient.
func pluginMain(name string) int {
	p, err := plugin.New(name)
	if err != nil {
		panic(err)
	}
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		if log := os.Getenv("PLUGIN_LOG"); log != "" {
			f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			fmt.Fprintln(f, name)
			f.Close()
		}
		switch name {
		case "hang":
			time.Sleep(time.Minute)
		case "echo":
			return nil, errors.New("bad identity " + plugin.EncodeIdentity(name, data) + "\n\x1b[31m")
		case "ask":
			if _, err := p.RequestValue("PIN", true); err != nil {
				return nil, errors.New("nobody answers")
			}
		}
		return age.ParseX25519Identity(string(data))
	})
	return p.Main()
}

// pluginsInPath puts plugins into PATH, and returns the file in which they note that they were run.
func pluginsInPath(t *testing.T, names ...string) (log string) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, "age-plugin-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	log = filepath.Join(dir, "log")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("PLUGIN_LOG", log)
	return log
}

// pluginKeys is a key file of identities of plugins, which hold a test key.
func pluginKeys(t *testing.T, names ...string) (path string, lines []string) {
	t.Helper()
	text := strings.TrimSpace(string(testkeys.Data(t, testkeys.Age)))
	secret := text[strings.LastIndex(text, "\n")+1:]
	for _, name := range names {
		lines = append(lines, plugin.EncodeIdentity(name, []byte(secret)))
	}
	path = filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, lines
}

func TestPrograms_plugins(t *testing.T) {
	log := pluginsInPath(t, "one", "two")
	path, _ := pluginKeys(t, "one", "two")
	r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}})
	native := testkeys.Public(t, testkeys.Age)
	for _, c := range []struct{ name, recipient, first string }{
		{"recipient of a plugin", plugin.EncodeRecipient("two", []byte(native)), "two"},
		{"recipient that names no plugin", native, "one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.RemoveAll(log); err != nil {
				t.Fatal(err)
			}
			sealed := sealAge(t, c.recipient, "data key")
			if _, _, err := r.Memory(sealed); !errors.Is(err, ErrNoMatch) || count(t, log) != 0 {
				t.Errorf("memory: %v", err)
			}
			got, source, err := r.Programs(context.Background(), sealed)
			if err != nil || string(got) != "data key" || source != path {
				t.Errorf("%q from %q, %v", got, source, err)
			}
			if ran, err := os.ReadFile(log); err != nil || string(ran) != c.first+"\n" {
				t.Errorf("plugins run: %q, %v", ran, err)
			}
		})
	}
	if _, _, err := r.Programs(context.Background(), sealAge(t, testkeys.Public(t, testkeys.AgeOther), "x")); !errors.Is(err, ErrNoMatch) {
		t.Errorf("error is %v", err)
	}
	if got := r.Identities(); len(got) != 2 || got[0].Type != "age plugin one" {
		t.Errorf("identities: %v", got)
	}
}

func TestPrograms_pluginFaults(t *testing.T) {
	pluginsInPath(t, "hang", "echo", "ask")
	for _, c := range []struct {
		plugin  string
		timeout time.Duration // enough for a busy machine where an answer is wanted
		want    string
	}{
		{"hang", time.Millisecond, "age-plugin-hang: no answer in 1ms"},
		{"echo", time.Minute, "age-plugin-echo: echo plugin: bad identity … [31m"},
		{"ask", time.Minute, "age-plugin-ask: ask plugin: nobody answers"},
		{"missing", time.Minute, "age-plugin-missing is not in PATH"},
	} {
		t.Run(c.plugin, func(t *testing.T) {
			path, lines := pluginKeys(t, c.plugin)
			r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}, Timeout: c.timeout})
			_, _, err := r.Programs(context.Background(), sealAge(t, testkeys.Public(t, testkeys.Age), "x"))
			if err == nil || err.Error() != path+": "+c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), lines[0]) {
				t.Error("the error has the private key in it")
			}
			if runs(t, "age-plugin-"+c.plugin) {
				t.Error("the plugin still runs")
			}
		})
	}
}

// A plugin that prints or waits without an end is ended, with what it has started, long before the
// memory is full: it may be a script, and need not end its line. Nothing else is ended.
func TestPrograms_pluginWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	floods := "it printed more than 16777216 bytes"
	for name, c := range map[string]struct{ text, want string }{
		"line":    {"cat /dev/zero", floods},
		"other":   {"exec cat /dev/zero", floods},
		"wrapper": {`exec sh -c "cat /dev/zero" sh "$@"`, floods},
		"body":    {"echo '-> x'; yes " + strings.Repeat("A", 64), floods},
		"sleep":   {"exec sleep 600", "no answer in 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			stranger := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=64k")
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			script(t, filepath.Join(dir, "age-plugin-"+name), c.text)
			path, _ := pluginKeys(t, name)
			timeout := 10 * time.Minute
			if c.want != floods {
				timeout = time.Second
			}
			r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}, Timeout: timeout})
			_, _, err := r.Programs(context.Background(), sealAge(t, testkeys.Public(t, testkeys.Age), "x"))
			if want := path + ": age-plugin-" + name + ": " + c.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %q", err, want)
			}
			if left := children("self"); !slices.Equal(left, []string{strconv.Itoa(stranger.Process.Pid)}) {
				t.Errorf("processes %v run, want the stranger's alone", left)
			}
			if err := stranger.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = stranger.Wait()
		})
	}
}

// runs says whether a child of this process is the named program.
func runs(t *testing.T, name string) bool {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(stat), " ("+name[:min(15, len(name))]+") ") && strings.Contains(string(stat), fmt.Sprintf(" %d ", os.Getpid())) {
			return true
		}
	}
	return false
}
