package keyring

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// sealPGP encrypts a data key with gpg.
func sealPGP(t testing.TB, home, dataKey string, args ...string) Sealed {
	t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--trust-model", "always", "--armor", "--encrypt"}, args...)...)
	cmd.Stdin = strings.NewReader(dataKey)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gpg %v: %v: %s", args, err, stderr.Bytes())
	}
	return Sealed{Type: "pgp", Recipient: "r", Data: out}
}

// storedPGP is a message that gpg 2.2 made for the test key ssh_rsa_2048.
func storedPGP(t testing.TB, name string) Sealed {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return Sealed{Type: "pgp", Recipient: "r", Data: data}
}

func fingerprint(t testing.TB, name string) string {
	t.Helper()
	public, err := sshkey.ParsePublic(testkeys.Public(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return public.PGPFingerprint()
}

// What gpg writes is read in process: keys of all sizes and formats, packets of all kinds that gpg
// makes.
func TestMemory_openPGP(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t, testkeys.SSHRSA2048, testkeys.SSHRSA4096, testkeys.SSHRSA8192, testkeys.SSHRSAPEM, testkeys.SSHRSAPKCS8, testkeys.GPGRSA, testkeys.GPGEd25519)
	to := func(names ...string) (args []string) {
		for _, name := range names {
			args = append(args, "--recipient", fingerprint(t, name))
		}
		return args
	}
	own := to(testkeys.SSHRSA2048)
	for _, c := range []struct {
		name, key string
		args      []string // of gpg; without any the message is a file of testdata
	}{
		{"2048 bits", testkeys.SSHRSA2048, own},
		{"3072 bits, PEM", testkeys.SSHRSAPEM, to(testkeys.SSHRSAPEM)},
		{"4096 bits", testkeys.SSHRSA4096, to(testkeys.SSHRSA4096)},
		{"8192 bits", testkeys.SSHRSA8192, to(testkeys.SSHRSA8192)},
		{"PKCS #8", testkeys.SSHRSAPKCS8, to(testkeys.SSHRSAPKCS8)},
		{"among keys with subkeys", testkeys.SSHRSA2048, append([]string{"-r", testkeys.GPGRSAFingerprint, "-r", testkeys.GPGEd25519Fingerprint}, own...)},
		{"among other SSH keys", testkeys.SSHRSA4096, to(testkeys.SSHRSA2048, testkeys.SSHRSA4096, testkeys.SSHRSAPEM)},
		{"hidden recipient", testkeys.SSHRSA2048, append([]string{"--throw-keyids"}, own...)},
		{"hidden among others", testkeys.SSHRSA4096, append([]string{"--throw-keyids"}, to(testkeys.SSHRSA2048, testkeys.SSHRSA4096)...)},
		{"compressed, ZIP", testkeys.SSHRSA2048, append([]string{"--compress-algo", "zip"}, own...)},
		{"compressed, ZLIB", testkeys.SSHRSA2048, append([]string{"--compress-algo", "zlib"}, own...)},
		{"compressed, BZIP2", testkeys.SSHRSA2048, append([]string{"--compress-algo", "bzip2"}, own...)},
		{"uncompressed", testkeys.SSHRSA2048, append([]string{"--compress-algo", "none"}, own...)},
		{"AES128", testkeys.SSHRSA2048, append([]string{"--cipher-algo", "AES"}, own...)},
		{"3des.asc", testkeys.SSHRSA2048, nil}, // gpg 2.4 refuses to make these two
		{"cast5.asc", testkeys.SSHRSA2048, nil},
		{"RFC 2440", testkeys.SSHRSA2048, append([]string{"--rfc2440"}, own...)},
		{"RFC 4880", testkeys.SSHRSA2048, append([]string{"--rfc4880"}, own...)},
		{"text mode", testkeys.SSHRSA2048, append([]string{"--textmode"}, own...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var sealed Sealed
			if c.args != nil {
				sealed = sealPGP(t, home, "data key", c.args...)
			} else {
				sealed = storedPGP(t, c.name)
			}
			path := testkeys.Path(t, c.key)
			r := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{path}}})
			got, source, err := r.Memory(sealed)
			if err != nil || string(got) != "data key" || source != path {
				t.Errorf("%q from %q, %v", got, source, err)
			}
			other := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSAPEMPassphrase)}}})
			if _, _, err := other.Memory(sealed); !errors.Is(err, ErrNoMatch) {
				t.Errorf("without the key: %v", err)
			}
			if c.key != testkeys.SSHRSAPEM {
				third := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSAPEM)}}})
				if c.name == "among other SSH keys" {
					return
				}
				if _, _, err := third.Memory(sealed); err == nil {
					t.Error("another key opens it")
				}
			}
		})
	}
}

// Packets of the new format; and, from before gpg 2.2.8, ones without an integrity code.
func TestMemory_openPGPOtherWriters(t *testing.T) {
	t.Parallel()
	public, err := sshkey.ParsePublic(testkeys.Public(t, testkeys.SSHRSA2048))
	if err != nil {
		t.Fatal(err)
	}
	r := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)}}})
	for _, c := range []struct {
		name string
		body func(w *bytes.Buffer, session []byte) error
	}{
		{"integrity protected", func(w *bytes.Buffer, session []byte) error {
			body, err := packet.SerializeSymmetricallyEncrypted(w, packet.CipherAES256, false, packet.CipherSuite{}, session, nil)
			if err != nil {
				return err
			}
			literal, err := packet.SerializeLiteral(body, true, "", 0)
			if err != nil {
				return err
			}
			_, err = literal.Write([]byte("data key"))
			return errors.Join(err, literal.Close())
		}},
		{"not integrity protected", func(w *bytes.Buffer, session []byte) error {
			block, err := aes.NewCipher(session)
			if err != nil {
				return err
			}
			var plain bytes.Buffer
			plain.Write([]byte{0xcb, 14, 'b', 0, 0, 0, 0, 0})
			plain.WriteString("data key")
			stream, prefix := packet.NewOCFBEncrypter(block, make([]byte, block.BlockSize()), packet.OCFBResync)
			encrypted := append([]byte(nil), prefix...)
			body := make([]byte, plain.Len())
			stream.XORKeyStream(body, plain.Bytes())
			encrypted = append(encrypted, body...)
			w.Write([]byte{0xc9, byte(len(encrypted))})
			w.Write(encrypted)
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			session := make([]byte, 32)
			if _, err := rand.Read(session); err != nil {
				t.Fatal(err)
			}
			var message, armored bytes.Buffer
			if err := packet.SerializeEncryptedKeyAEAD(&message, public.OpenPGPKey(), packet.CipherAES256, false, session, nil); err != nil {
				t.Fatal(err)
			}
			if err := c.body(&message, session); err != nil {
				t.Fatal(err)
			}
			w, err := armor.Encode(&armored, "PGP MESSAGE", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(message.Bytes()); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got, _, err := r.Memory(Sealed{"pgp", "r", armored.Bytes()})
			if err != nil || string(got) != "data key" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// traps puts programs into PATH that note that they were run.
func traps(t *testing.T, names ...string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	for _, name := range names {
		script(t, filepath.Join(dir, name), "echo "+name+` "$@" >> `+log)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return log
}

// An SSH key opens OpenPGP messages without any program.
func TestMemory_startsNoGPG(t *testing.T) {
	home := testkeys.GPGHome(t, testkeys.SSHRSA2048)
	sealed := sealPGP(t, home, "data key", "-r", fingerprint(t, testkeys.SSHRSA2048))
	log := traps(t, "gpg", "gpg2", "gpgconf", "gpg-agent", "gpg-connect-agent")
	r := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)}}})
	for range 20 {
		if _, _, err := r.Memory(sealed); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, log); n != 0 {
		t.Errorf("%d programs were started", n)
	}
}

func TestPrograms_gpg(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t, testkeys.GPGRSA, testkeys.GPGEd25519, testkeys.SSHRSA2048)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"RSA with a subkey", []string{"-r", testkeys.GPGRSAFingerprint}},
		{"Curve 25519", []string{"-r", testkeys.GPGEd25519Fingerprint}},
		{"hidden", []string{"--throw-keyids", "-r", testkeys.GPGEd25519Fingerprint}},
		{"among others", []string{"-r", fingerprint(t, testkeys.SSHRSA2048), "-r", testkeys.GPGEd25519Fingerprint}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed := sealPGP(t, home, "data key", c.args...)
			testkeys.EndAgent(t, home)
			for _, wasRunning := range []bool{false, true} {
				if wasRunning {
					if err := exec.Command("gpg-connect-agent", "--homedir", home, "/bye").Run(); err != nil {
						t.Fatal(err)
					}
				}
				r := Open(Config{Keys: manifest.KeySources{GnuPGHome: home}})
				if _, _, err := r.Memory(sealed); !errors.Is(err, ErrNoMatch) {
					t.Errorf("memory: %v", err)
				}
				got, source, err := r.Programs(context.Background(), sealed)
				if err != nil || string(got) != "data key" || source != home {
					t.Errorf("%q from %q, %v", got, source, err)
				}
				if ids := r.Identities(); len(ids) != 1 || ids[0].Type != "pgp" || len(ids[0].Recipients) != 4 {
					t.Errorf("identities: %v", ids)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				testkeys.AwaitAgent(t, home, wasRunning)
			}
		})
	}
}

// The variable of gpg itself is honoured when it was set on purpose, and a home of the manifest
// comes before it.
func TestPrograms_gpgHome(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t, testkeys.GPGRSA)
	sealed := sealPGP(t, home, "x", "-r", testkeys.GPGRSAFingerprint)
	r := ring(t, Config{Getenv: env(envGPGHome, home)})
	if _, source, err := r.Programs(context.Background(), sealed); err != nil || source != home {
		t.Errorf("from %q, %v", source, err)
	}
	other := testkeys.GPGHome(t, testkeys.GPGEd25519)
	r = ring(t, Config{Keys: manifest.KeySources{GnuPGHome: other}, Getenv: env(envGPGHome, home)})
	if _, _, err := r.Programs(context.Background(), sealed); !errors.Is(err, ErrNoMatch) {
		t.Errorf("error is %v", err)
	}
}

// gpg is not started for messages that are for others.
func TestPrograms_gpgOnlyForItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	home := testkeys.GPGHome(t, testkeys.GPGRSA, testkeys.SSHRSA2048)
	wrapper := script(t, filepath.Join(dir, "gpg"), `echo "$@" >> `+log+`; exec gpg "$@"`)
	r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: home}, Getenv: env(envGPG, wrapper)})
	others, own := sealPGP(t, home, "x", "-r", fingerprint(t, testkeys.SSHRSA2048)), sealPGP(t, home, "x", "-r", testkeys.GPGRSAFingerprint)
	for range 5 {
		if _, _, err := r.Programs(context.Background(), others); !errors.Is(err, ErrNoMatch) {
			t.Errorf("error is %v", err)
		}
	}
	if n := count(t, log); n != 1 {
		t.Errorf("gpg was started %d times to list its keys", n)
	}
	if _, _, err := r.Programs(context.Background(), own); err != nil || count(t, log) != 2 {
		t.Errorf("%v; gpg was started %d times", err, count(t, log))
	}
}

// Whatever is wrong with gpg or its agent, it ends in the deadline with a message.
func TestPrograms_gpgFaults(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), testkeys.GPGHome(t, testkeys.GPGRSA)
	sealed := sealPGP(t, home, "x", "-r", testkeys.GPGRSAFingerprint)
	list := `case "$*" in *list-secret*) exec gpg "$@";; esac; `
	for _, c := range []struct{ name, binary, want string }{
		{"hangs", script(t, filepath.Join(dir, "a"), "sleep 60 & sleep 60"), filepath.Join(dir, "a") + ": no answer in 1s"},
		{"hangs when it decrypts", script(t, filepath.Join(dir, "b"), list+"sleep 60"), filepath.Join(dir, "b") + ": no answer in 1s"},
		{"fails", script(t, filepath.Join(dir, "c"), list+"echo 'no agent' >&2; exit 2"), filepath.Join(dir, "c") + ": exit status 2: no agent"},
		{"says nothing", script(t, filepath.Join(dir, "d"), list), filepath.Join(dir, "d") + " decrypted it to nothing (is it too old for the message?)"},
		{"is not there", "/no/such/gpg", "/no/such/gpg: no such file or directory"},
		{"is not in PATH", "no-such-gpg", "no-such-gpg: executable file not found in $PATH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute // where an answer is wanted a busy machine may take its time
			if strings.HasPrefix(c.name, "hangs") {
				timeout = time.Second
			}
			r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: home}, Getenv: env(envGPG, c.binary), Timeout: timeout})
			begin := time.Now()
			_, _, err := r.Programs(context.Background(), sealed)
			if err == nil || err.Error() != c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A key with a passphrase, and nobody who could be asked for it: gpg says so, or the deadline ends
// it.
func TestPrograms_gpgPassphrase(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t)
	gpg := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "POISON"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	gpg("--quick-generate-key", "test@example.org", "rsa2048", "encrypt,cert")
	sealed := sealPGP(t, home, "x", "-r", "test@example.org")
	testkeys.EndAgent(t, home)
	r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: home}, Timeout: 3 * time.Second})
	begin := time.Now()
	_, _, err := r.Programs(context.Background(), sealed)
	if err == nil || errors.Is(err, ErrNoMatch) || errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), "gpg: ") {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	t.Log(err)
}

func TestPrograms_gpgHomeWithoutKeys(t *testing.T) {
	t.Parallel()
	home := testkeys.GPGHome(t, testkeys.SSHRSA2048)
	r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: home}})
	if _, _, err := r.Programs(context.Background(), sealPGP(t, home, "x", "-r", fingerprint(t, testkeys.SSHRSA2048))); !errors.Is(err, ErrNoMatch) {
		t.Errorf("error is %v", err)
	}
	if got := r.Skipped(); len(got) != 1 || got[0].Source != home || !strings.HasPrefix(got[0].Reason, "there is no secret key in it") {
		t.Errorf("skipped: %v", got)
	}
}
