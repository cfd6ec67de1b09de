package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// TestMain makes the test binary be the plugins of age that the tests put into PATH.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "age-plugin-"); ok {
		os.Exit(pluginMain(name))
	}
	os.Exit(m.Run())
}

// sealAge encrypts a data key for an age recipient, as sops does.
func sealAge(t testing.TB, recipient, dataKey string) Sealed {
	t.Helper()
	var r age.Recipient
	var err error
	switch name, data, notPlugin := plugin.ParseRecipient(recipient); {
	case strings.HasPrefix(recipient, "ssh-"):
		r, err = agessh.ParseRecipient(recipient)
	case strings.HasPrefix(recipient, "age1pq1"):
		r, err = age.ParseHybridRecipient(recipient)
	case notPlugin == nil && name != "":
		r, err = age.ParseX25519Recipient(string(data))
	default:
		r, err = age.ParseX25519Recipient(recipient)
	}
	var b bytes.Buffer
	if err == nil {
		a := armor.NewWriter(&b)
		w, encErr := age.Encrypt(a, r)
		err = encErr
		if err == nil {
			_, err = w.Write([]byte(dataKey))
			err = errors.Join(err, w.Close(), a.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return Sealed{Type: "age", Recipient: recipient, Data: b.Bytes()}
}

// env is an environment of the given variables alone.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func ring(t testing.TB, c Config) *Ring {
	t.Helper()
	r := Open(c)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func converted(t testing.TB, name string) string {
	t.Helper()
	public, err := sshkey.ParsePublic(testkeys.Public(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return public.AgeRecipient()
}

// Every kind of key opens what is encrypted for each of its recipients, and what is not is
// ErrNoMatch.
func TestMemory(t *testing.T) {
	t.Parallel()
	all := []string{
		testkeys.Public(t, testkeys.Age), testkeys.Public(t, testkeys.AgePQ), testkeys.Public(t, testkeys.SSHEd25519),
		converted(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA2048), testkeys.Public(t, testkeys.AgeOther),
	}
	two := filepath.Join(t.TempDir(), "two.txt")
	text := "# a comment\r\n\r\n  " + strings.TrimSpace(string(testkeys.Data(t, testkeys.AgePQ))) + "\r\n" + string(testkeys.Data(t, testkeys.Age))
	if err := os.WriteFile(two, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		keys manifest.KeySources
		fits []int
	}{
		{"age", manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)}, []int{0}},
		{"post-quantum", manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.AgePQ)}, []int{1}},
		{"several in a file", manifest.KeySources{AgeKeyFile: two}, []int{0, 1}},
		{"ed25519", manifest.KeySources{AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHEd25519)}}, []int{2, 3}},
		{"RSA", manifest.KeySources{AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)}}, []int{4}},
		{"RSA as OpenPGP key", manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)}}, []int{4}},
		{"all", manifest.KeySources{AgeKeyFile: two, AgeSSHKeyPaths: []string{
			testkeys.Path(t, testkeys.SSHRSA2048), testkeys.Path(t, testkeys.SSHEd25519),
		}}, []int{0, 1, 2, 3, 4}},
		{"none", manifest.KeySources{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := ring(t, Config{Keys: c.keys})
			for i, recipient := range all {
				want := false
				for _, f := range c.fits {
					want = want || f == i
				}
				got, source, err := r.Memory(sealAge(t, recipient, "data key"))
				if want && (err != nil || string(got) != "data key" || source == "") {
					t.Errorf("recipient %d: %q from %q, %v", i, got, source, err)
				}
				if !want && !errors.Is(err, ErrNoMatch) {
					t.Errorf("recipient %d: %v", i, err)
				}
			}
			if len(r.Skipped()) > 0 {
				t.Errorf("skipped: %v", r.Skipped())
			}
		})
	}
}

func TestMemory_malformed(t *testing.T) {
	t.Parallel()
	r := ring(t, Config{Keys: manifest.KeySources{
		AgeKeyFile: testkeys.Path(t, testkeys.Age), SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)},
	}})
	good := string(sealAge(t, testkeys.Public(t, testkeys.Age), "x").Data)
	for _, text := range []string{"", "POISON", good[:len(good)/2], strings.Replace(good, "AGE", "EGA", 2)} {
		for _, kind := range []string{"age", "pgp"} {
			if _, _, err := r.Memory(Sealed{Type: kind, Recipient: "r", Data: []byte(text)}); err == nil || errors.Is(err, ErrNoMatch) || strings.Contains(err.Error(), "POISON") {
				t.Errorf("%s %q: %v", kind, text, err)
			}
		}
	}
}

// Each source that is not used is told with its reason, and the others are used.
func TestOpen_skipped(t *testing.T) {
	t.Parallel()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := testkeys.Path(t, testkeys.Age)
	secret := strings.TrimSpace(string(testkeys.Data(t, testkeys.Age)))
	secret = secret[strings.LastIndex(secret, "\n")+1:]
	directory := t.TempDir()
	for _, c := range []struct {
		name   string
		keys   manifest.KeySources
		source string
		want   string
	}{
		{"no such SSH key", manifest.KeySources{AgeSSHKeyPaths: []string{"/no/such/key"}}, "/no/such/key", "does not exist"},
		{"no such age key file", manifest.KeySources{AgeKeyFile: "/no/such/key"}, "/no/such/key", "does not exist"},
		{"directory", manifest.KeySources{AgeKeyFile: directory}, directory, "is a directory, not a file"},
		{"device", manifest.KeySources{AgeKeyFile: "/dev/zero"}, "/dev/zero", "is a device, not a file"},
		{"no such GnuPG home", manifest.KeySources{GnuPGHome: "/no/such/home"}, "/no/such/home", "no such directory"},
		{"passphrase", manifest.KeySources{AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHEd25519Passphrase)}}, "", "the key has a passphrase"},
		{"passphrase of a PEM key", manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSAPEMPassphrase)}}, "", "the key has a passphrase"},
		{"wrong type", manifest.KeySources{AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHECDSA)}}, "", "ecdsa-sha2-nistp256 keys cannot decrypt (only ed25519 and RSA keys can)"},
		{"SSH key as age key file", manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.SSHEd25519)}, "", "not a file of age keys (SSH keys belong into ageSshKeyPaths)"},
		{"age key as SSH key", manifest.KeySources{AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.Age)}}, "", "not an SSH private key"},
		{"empty", manifest.KeySources{AgeKeyFile: write("k", "# nothing\n")}, "", "there is no key in it"},
		{"encrypted age key file", manifest.KeySources{AgeKeyFile: write("k", "age-encryption.org/v1\n-> scrypt")}, "", "the key file has a passphrase"},
		{"armored encrypted age key file", manifest.KeySources{AgeKeyFile: write("k", "-----BEGIN AGE ENCRYPTED FILE-----\n")}, "", "the key file has a passphrase"},
		{"public key", manifest.KeySources{AgeKeyFile: write("k", testkeys.Public(t, testkeys.Age))}, "", "line 1: a public key, not a private one"},
		{"broken key", manifest.KeySources{AgeKeyFile: write("k", "#\n"+secret[:len(secret)-3]+"QQQ")}, "", "line 2: malformed age key"},
		{"broken plugin key", manifest.KeySources{AgeKeyFile: write("k", "AGE-PLUGIN-POISON-1POISON")}, "", "line 1: malformed key of an age plugin"},
		{"broken post-quantum key", manifest.KeySources{AgeKeyFile: write("k", "AGE-SECRET-KEY-PQ-1POISON")}, "", "line 1: malformed age post-quantum key"},
		{"something else", manifest.KeySources{AgeKeyFile: write("k", "POISON")}, "", "line 1: not an age key"},
		{"too large", manifest.KeySources{AgeKeyFile: write("k", strings.Repeat("x", maxKeyFileBytes+1))}, "", "larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := ring(t, Config{Keys: c.keys, Getenv: env(envAgeKeyFile, good)})
			skipped := r.Skipped()
			if len(skipped) != 1 || skipped[0].Reason != c.want || c.source != "" && skipped[0].Source != c.source {
				t.Errorf("skipped %v, want %q", skipped, c.want)
			}
			if _, source, err := r.Memory(sealAge(t, testkeys.Public(t, testkeys.Age), "x")); err != nil || source != good {
				t.Errorf("the other key: from %q, %v", source, err)
			}
		})
	}
}

func TestOpen_unreadable(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	path := testkeys.Path(t, testkeys.Age)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}})
	if got := r.Skipped(); len(got) != 1 || got[0] != (Skipped{Source: path, Reason: "permission denied", Cure: "run this as root"}) {
		t.Errorf("skipped: %v", got)
	}
}

// A line that is no key does not spoil the others of its file.
func TestOpen_oneBadLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(path, append([]byte("POISON\n"), testkeys.Data(t, testkeys.Age)...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}})
	if got := fmt.Sprint(r.Skipped()); got != fmt.Sprintf("[{%s line 1: not an age key false }]", path) {
		t.Errorf("skipped: %s", got)
	}
	if got := r.Identities(); len(got) != 1 || got[0].Recipients[0] != testkeys.Public(t, testkeys.Age) {
		t.Errorf("identities: %v", got)
	}
}

// The manifest's sources come before the variables; a file that is named twice is read once.
func TestOpen_order(t *testing.T) {
	t.Parallel()
	ssh, ageFile, other := testkeys.Path(t, testkeys.SSHEd25519), testkeys.Path(t, testkeys.Age), testkeys.Path(t, testkeys.SSHEd25519Other)
	r := ring(t, Config{
		Keys:   manifest.KeySources{AgeSSHKeyPaths: []string{ssh, ssh}, AgeKeyFile: ageFile, SSHKeyPaths: []string{ssh}},
		Getenv: env(envAgeKey, "\n"+string(testkeys.Data(t, testkeys.AgeOther))[len("# test key of sops-initrd, protects nothing\n# public key: ")+62:], envAgeKeyFile, ageFile, envSSHKeyFile, other),
	})
	var sources []string
	for _, id := range r.Identities() {
		sources = append(sources, id.Source)
	}
	if got, want := fmt.Sprint(sources), fmt.Sprint([]string{ssh, ageFile, envAgeKey, other}); got != want {
		t.Errorf("sources are %s, want %s", got, want)
	}
	if got := r.Identities()[0]; got.Type != "ssh-ed25519" || fmt.Sprint(got.Recipients) != fmt.Sprint([]string{converted(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHEd25519)}) {
		t.Errorf("first identity: %v", got)
	}
}

// In system mode nothing below the home directory is looked at, not even where there is no other
// key.
func TestOpen_home(t *testing.T) {
	home := t.TempDir()
	for path, name := range map[string]string{
		".config/sops/age/keys.txt": testkeys.Age, ".ssh/id_ed25519": testkeys.SSHEd25519, ".ssh/id_rsa": testkeys.SSHRSA2048,
	} {
		path = filepath.Join(home, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, testkeys.Data(t, name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(home, ".config/sops/age/keys.txt")) // of this process, not given to the ring
	recipients := []string{testkeys.Public(t, testkeys.Age), testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA2048)}
	system := ring(t, Config{Getenv: env("HOME", home)})
	user := ring(t, Config{Getenv: env("HOME", home), UserMode: true})
	for _, recipient := range recipients {
		sealed := sealAge(t, recipient, "x")
		if _, _, err := system.Memory(sealed); !errors.Is(err, ErrNoMatch) {
			t.Errorf("system mode: %v", err)
		}
		if _, _, err := system.Programs(context.Background(), sealed); !errors.Is(err, ErrNoMatch) {
			t.Errorf("system mode, programs: %v", err)
		}
		if _, _, err := user.Memory(sealed); err != nil {
			t.Errorf("user mode: %v", err)
		}
	}
	if _, _, err := system.Programs(context.Background(), Sealed{Type: "pgp"}); !errors.Is(err, ErrNoMatch) {
		t.Errorf("system mode, gpg: %v", err)
	}
	config := ring(t, Config{Getenv: env("HOME", "/nowhere", "XDG_CONFIG_HOME", filepath.Join(home, ".config")), UserMode: true})
	if _, _, err := config.Memory(sealAge(t, recipients[0], "x")); err != nil {
		t.Errorf("XDG_CONFIG_HOME: %v", err)
	}
	empty := ring(t, Config{Getenv: env("HOME", t.TempDir()), UserMode: true})
	if len(empty.Skipped()) > 0 {
		t.Errorf("a home without keys: %v", empty.Skipped())
	}
}

// script writes an executable shell script.
func script(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// count is how often a script left a line in a file.
func count(t testing.TB, log string) int {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

func TestPrograms_commands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	ageCmd := script(t, filepath.Join(dir, "age-cmd"), `echo "$1 $SOPS_AGE_RECIPIENT" >> `+log+`; cat `+testkeys.Path(t, testkeys.Age))
	sshCmd := script(t, filepath.Join(dir, "ssh-cmd"), `cat `+testkeys.Path(t, testkeys.SSHEd25519))
	r := ring(t, Config{Getenv: env(envAgeKeyCmd, ageCmd+` 'an argument'`, envSSHKeyCmd, sshCmd)})
	if n := count(t, log); n != 0 {
		t.Errorf("run %d times before it was needed", n)
	}
	for range 3 {
		for _, recipient := range []string{testkeys.Public(t, testkeys.Age), testkeys.Public(t, testkeys.SSHEd25519), converted(t, testkeys.SSHEd25519)} {
			sealed := sealAge(t, recipient, "data key")
			if _, _, err := r.Memory(sealed); !errors.Is(err, ErrNoMatch) {
				t.Errorf("memory: %v", err)
			}
			got, source, err := r.Programs(context.Background(), sealed)
			if err != nil || string(got) != "data key" || !strings.HasSuffix(source, "_CMD") {
				t.Errorf("%q from %q, %v", got, source, err)
			}
		}
	}
	data, err := os.ReadFile(log)
	if err != nil || strings.Count(string(data), "\n") != 3 || !strings.HasPrefix(string(data), "an argument "+testkeys.Public(t, testkeys.Age)+"\n") {
		t.Errorf("the command was run as %q, %v", data, err)
	}
	if len(r.Identities()) != 2 || len(r.Skipped()) != 0 {
		t.Errorf("identities %v, skipped %v", r.Identities(), r.Skipped())
	}
}

func TestPrograms_commandFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ name, line, want string }{
		{"fails", script(t, filepath.Join(dir, "fail"), "echo POISON; echo POISON >&2; exit 3"), filepath.Join(dir, "fail") + ": exit status 3"},
		{"is not there", "/no/such/program", "/no/such/program: no such file or directory"},
		{"is not in PATH", "no-such-program", "no-such-program: executable file not found in $PATH"},
		{"hangs", script(t, filepath.Join(dir, "hang"), "sleep 60 & sleep 60"), filepath.Join(dir, "hang") + ": no answer in 300ms"},
		{"is no command line", "'", "not a command line"},
		{"prints something else", script(t, filepath.Join(dir, "else"), "echo POISON"), "line 1: not an age key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute // on a busy machine, too, no other is without an answer
			if c.name == "hangs" {
				timeout = 300 * time.Millisecond
			}
			r := ring(t, Config{Getenv: env(envAgeKeyCmd, c.line), Timeout: timeout})
			begin := time.Now()
			if _, _, err := r.Programs(context.Background(), sealAge(t, testkeys.Public(t, testkeys.Age), "x")); !errors.Is(err, ErrNoMatch) {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(begin); c.name == "hangs" && took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := r.Skipped(); len(got) != 1 || got[0] != (Skipped{Source: envAgeKeyCmd, Reason: c.want}) {
				t.Errorf("skipped %v, want %q", got, c.want)
			}
		})
	}
}

// Two workers use a ring at a time, while programs tell it keys.
func TestRing_concurrently(t *testing.T) {
	t.Parallel()
	cmd := script(t, filepath.Join(t.TempDir(), "cmd"), "cat "+testkeys.Path(t, testkeys.SSHRSA2048))
	r := ring(t, Config{
		Keys:   manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSAPEM)}},
		Getenv: env(envSSHKeyCmd, cmd),
	})
	sealed := sealAge(t, testkeys.Public(t, testkeys.SSHRSA2048), "data key")
	message := Sealed{Type: "pgp", Recipient: "r", Data: []byte("-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n")}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 5 {
				if got, _, err := r.Programs(context.Background(), sealed); err != nil || string(got) != "data key" {
					t.Errorf("%q, %v", got, err)
				}
				if _, _, err := r.Memory(message); err == nil {
					t.Error("a broken message is opened")
				}
				_, _ = r.Identities(), r.Skipped()
			}
		})
	}
	workers.Wait()
	if ids := r.Identities(); len(ids) != 2 || len(ids[1].Recipients) != 1 {
		t.Errorf("identities: %v", ids)
	}
}
