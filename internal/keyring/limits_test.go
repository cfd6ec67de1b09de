package keyring

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// inMemory fails when f takes more than a few megabytes at once.
func inMemory(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("it took %d MB", grown>>20)
	}
}

// What gpg unpacks a message to is read up to a bound: 200 MB of zeros take 200 kB.
func TestPrograms_gpgBomb(t *testing.T) {
	home := testkeys.GPGHome(t, testkeys.GPGRSA)
	cmd := exec.Command("gpg", "--homedir", home, "--batch", "--quiet", "--trust-model", "always", "--armor", "-r", testkeys.GPGRSAFingerprint, "--encrypt")
	cmd.Stdin = io.LimitReader(zeros{}, 200<<20)
	message, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	r := ring(t, Config{Keys: manifest.KeySources{GnuPGHome: home}})
	inMemory(t, func() {
		_, _, err := r.Programs(context.Background(), Sealed{"pgp", "r", message})
		if err == nil || !strings.Contains(err.Error(), "gpg: it printed more than 4096 bytes") {
			t.Errorf("error is %v", err)
		}
	})
}

// The same in process, also where what is unpacked is no text but another packet, and packed again.
func TestMemory_openPGPBomb(t *testing.T) {
	public, err := sshkey.ParsePublic(testkeys.Public(t, testkeys.SSHRSA2048))
	if err != nil {
		t.Fatal(err)
	}
	r := ring(t, Config{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHRSA2048)}}})
	packed := func(w io.Writer, head []byte, content io.Reader) {
		z, err := flate.NewWriter(w, flate.BestCompression)
		if err == nil {
			_, err = z.Write(head)
		}
		if err == nil {
			_, err = io.Copy(z, content)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const size = 200 << 20
	long := func(tag byte) []byte {
		return []byte{0xc0 | tag, 0xff, size >> 24, size >> 16 & 0xff, size >> 8 & 0xff, size & 0xff}
	}
	zip := []byte{0xa3, 1} // a compressed packet of unknown length, ZIP
	for name, inner := range map[string]func(w io.Writer){
		"text": func(w io.Writer) {
			packed(w, append(long(11), 'b', 0, 0, 0, 0, 0), io.LimitReader(zeros{}, size))
		},
		"user attribute": func(w io.Writer) { packed(w, long(17), io.LimitReader(zeros{}, size)) },
		"signature":      func(w io.Writer) { packed(w, append(long(2), 4), io.LimitReader(zeros{}, size)) },
		"unknown packet": func(w io.Writer) { packed(w, long(60), io.LimitReader(zeros{}, size)) },
		"packed twice": func(w io.Writer) {
			var b bytes.Buffer
			packed(&b, long(17), io.LimitReader(zeros{}, size))
			packed(w, zip, &b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			session := make([]byte, 32)
			var message, armored bytes.Buffer
			if err := packet.SerializeEncryptedKeyAEAD(&message, public.OpenPGPKey(), packet.CipherAES256, false, session, nil); err != nil {
				t.Fatal(err)
			}
			body, err := packet.SerializeSymmetricallyEncrypted(&message, packet.CipherAES256, false, packet.CipherSuite{}, session, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := body.Write(zip); err != nil {
				t.Fatal(err)
			}
			inner(body)
			w, err := armor.Encode(&armored, "PGP MESSAGE", nil)
			if err == nil {
				_, err = w.Write(message.Bytes())
			}
			if err := errors.Join(err, body.Close(), w.Close()); err != nil {
				t.Fatal(err)
			}
			inMemory(t, func() {
				if got, _, err := r.Memory(Sealed{"pgp", "r", armored.Bytes()}); err == nil {
					t.Errorf("opened, to %d bytes", len(got))
				}
			})
		})
	}
}

// A program that prints without an end is ended.
func TestPrograms_commandFloods(t *testing.T) {
	dir := t.TempDir()
	flood := script(t, filepath.Join(dir, "flood"), "exec cat /dev/zero")
	complain := script(t, filepath.Join(dir, "complain"), "head -c 100000000 /dev/zero >&2; exit 1")
	for line, want := range map[string]string{
		flood: flood + ": it printed more than 1048576 bytes", complain: complain + ": exit status 1",
	} {
		r := ring(t, Config{Getenv: env(envAgeKeyCmd, line), Timeout: time.Minute})
		inMemory(t, func() {
			if _, _, err := r.Programs(context.Background(), sealAge(t, testkeys.Public(t, testkeys.Age), "x")); !errors.Is(err, ErrNoMatch) {
				t.Errorf("error is %v", err)
			}
		})
		if got := r.Skipped(); len(got) != 1 || got[0].Reason != want {
			t.Errorf("skipped %v, want %q", got, want)
		}
	}
}

// A key file with a hundred thousand lines that are no keys is told in a few, and does not hide the
// key behind them.
func TestOpen_manyBadLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.txt")
	text := append(bytes.Repeat([]byte("POISON\n"), 100_000), testkeys.Data(t, testkeys.Age)...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r := ring(t, Config{Keys: manifest.KeySources{AgeKeyFile: path}})
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	got := r.Skipped()
	if len(got) != maxBadLines+1 || got[0].Reason != "line 1: not an age key" || got[maxBadLines].Reason != "99990 more lines are no keys" {
		t.Errorf("skipped: %v", got)
	}
	if _, _, err := r.Memory(sealAge(t, testkeys.Public(t, testkeys.Age), "x")); err != nil {
		t.Error(err)
	}
}

// A source that hangs is waited for once in a run, and all together no longer than for four.
func TestPrograms_waitOnce(t *testing.T) {
	pluginsInPath(t, "hang")
	dir := t.TempDir()
	path, _ := pluginKeys(t, "hang")
	const timeout = 300 * time.Millisecond
	r := ring(t, Config{
		Keys: manifest.KeySources{AgeKeyFile: path}, Timeout: timeout,
		Getenv: env(envAgeKeyCmd, script(t, filepath.Join(dir, "hang"), "sleep 60")),
	})
	begin := time.Now()
	var errs []string
	for i := range 40 {
		recipient := testkeys.Public(t, testkeys.Age)
		if i%2 == 1 {
			recipient = testkeys.Public(t, testkeys.AgeOther)
		}
		_, _, err := r.Programs(context.Background(), sealAge(t, recipient, "x"))
		errs = append(errs, fmt.Sprint(err))
	}
	if took := time.Since(begin); took > 20*timeout {
		t.Errorf("it took %v", took)
	}
	if want := path + ": age-plugin-hang: no answer in 300ms"; errs[0] != want || errs[39] != want {
		t.Errorf("first %q, last %q, want %q", errs[0], errs[39], want)
	}
	begin = time.Now()
	for i := range 100 {
		_, err := Ask(t.Context(), r, fmt.Sprint("service ", i), func() (int, error) { time.Sleep(10 * timeout); return 0, nil })
		if !errors.Is(err, ErrNoAnswer) {
			t.Fatalf("service %d: %v", i, err)
		}
	}
	if took := time.Since(begin); took > 20*timeout {
		t.Errorf("a hundred services that give no answer: %v", took)
	}
	if _, err := Ask(t.Context(), r, "service", func() (int, error) { return 1, nil }); err == nil {
		t.Error("asked although the time for all is over")
	}
}

// A slow source that has the key is asked as often as it takes.
func TestAsk_slow(t *testing.T) {
	t.Parallel()
	r := ring(t, Config{Timeout: 400 * time.Millisecond})
	for range 10 {
		if _, err := Ask(t.Context(), r, "token", func() (int, error) { time.Sleep(50 * time.Millisecond); return 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// Comments of SOPS_AGE_KEY are left out, as in sops: a key that is commented out is none, and the
// numbers of lines are right.
func TestOpen_commentsOfVariable(t *testing.T) {
	t.Parallel()
	secret := func(name string) string {
		text := strings.TrimSpace(string(testkeys.Data(t, name)))
		return text[strings.LastIndex(text, "\n")+1:]
	}
	text := "# created: 2026\n# " + secret(testkeys.AgeOther) + "\n \n" + secret(testkeys.Age) + " \t" + secret(testkeys.AgePQ) + "\nPOISON\n"
	r := ring(t, Config{Getenv: env(envAgeKey, text)})
	var found []string
	for _, id := range r.Identities() {
		found = append(found, id.Recipients...)
	}
	if want := []string{testkeys.Public(t, testkeys.Age), testkeys.Public(t, testkeys.AgePQ)}; fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("identities of %v, want %v", found, want)
	}
	if got := r.Skipped(); len(got) != 1 || got[0].Reason != "line 5: not an age key" {
		t.Errorf("skipped: %v", got)
	}
}

// The cost of key lines grows with their number, and not faster.
func BenchmarkOpen(b *testing.B) {
	for _, lines := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			var text strings.Builder
			for range lines {
				id, err := age.GenerateX25519Identity()
				if err != nil {
					b.Fatal(err)
				}
				text.WriteString(id.String() + "\n")
			}
			path := filepath.Join(b.TempDir(), "keys.txt")
			if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				Open(Config{Keys: manifest.KeySources{AgeKeyFile: path}})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
		})
	}
}
