package lockout_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/lockout"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDXDpqkY127H4IodzCPaGnLCClkK9clBhAdloOjc19y"

func dangers(t *testing.T, s manifest.StageOne, files map[string][]byte) []lockout.Danger {
	t.Helper()
	all, err := lockout.Dangers(t.Context(), &s, files, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWireGuard(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, c := range map[string]struct {
		key    string
		danger bool
	}{
		"plain":      {good, false},
		"line feeds": {"\n" + good + "\r\n\n", false},
		"two lines":  {good[:20] + "\n" + good[20:], false},
		"empty":      {"", true},
		"cut":        {good[:40], true},
		"hex":        {strings.Repeat("07", 32), true},
		"with name":  {"PrivateKey = " + good, true},
	} {
		s := manifest.StageOne{WireGuardKeys: []string{"/k", "/not-ours"}}
		if got := dangers(t, s, map[string][]byte{"/k": []byte(c.key)}); len(got) > 0 != c.danger {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAuthorizedKeys(t *testing.T) {
	for name, c := range map[string]struct {
		keys   []string
		danger bool
	}{
		"no sshd":         {nil, false},
		"one":             {[]string{publicKey}, false},
		"options":         {[]string{`command="a b",no-pty,from="10.0.0.0/8" ` + publicKey + " me"}, false},
		"authority":       {[]string{"cert-authority " + publicKey}, false},
		"a file":          {[]string{"# admins\n\n" + publicKey + "\n# end\n"}, false},
		"one of two":      {[]string{"TODO", publicKey}, false},
		"none":            {[]string{}, true},
		"only a comment":  {[]string{"# " + publicKey}, true},
		"cut":             {[]string{publicKey[:50]}, true},
		"a path, no text": {[]string{"/root/.ssh/id_ed25519.pub"}, true},
	} {
		if got := dangers(t, manifest.StageOne{AuthorizedKeys: c.keys}, nil); len(got) > 0 != c.danger {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// cryptsetup is the real program and a LUKS device in a file that key opens.
func cryptsetup(t *testing.T, key string) (program, device string) {
	t.Helper()
	program, err := exec.LookPath("cryptsetup")
	if err != nil {
		if program = "/usr/sbin/cryptsetup"; os.Getenv("CI") == "" {
			if _, err := os.Stat(program); err != nil {
				t.Skip("cryptsetup is not installed")
			}
		}
	}
	device = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(device, 20<<20); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, "luksFormat", "-q", "--type=luks2",
		"--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--key-file=-", device)
	c.Stdin = strings.NewReader(key)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program, device
}

func TestLUKS(t *testing.T) {
	program, device := cryptsetup(t, "a key\n")
	other := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(other, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		device manifest.LUKSDevice
		key    string
		danger bool
	}{
		"opens":              {manifest.LUKSDevice{Device: device}, "a key\n", false},
		"part of a file":     {manifest.LUKSDevice{Device: device, Offset: 3, Size: 6}, "...a key\n...", false},
		"header elsewhere":   {manifest.LUKSDevice{Device: other, Header: device}, "a key\n", false},
		"device not there":   {manifest.LUKSDevice{Device: device + "2"}, "other", false},
		"header not there":   {manifest.LUKSDevice{Device: device, Header: "/nonexistent"}, "other", false},
		"no LUKS":            {manifest.LUKSDevice{Device: other}, "other", false},
		"line feed lost":     {manifest.LUKSDevice{Device: device}, "a key", true},
		"other key":          {manifest.LUKSDevice{Device: device}, "other", true},
		"wrong part":         {manifest.LUKSDevice{Device: device, Offset: 1}, "a key\n", true},
		"header, other key":  {manifest.LUKSDevice{Device: other, Header: device}, "other", true},
		"nothing in the key": {manifest.LUKSDevice{Device: device}, "", true},
	} {
		c.device.Name, c.device.KeyFile = "root", "/key"
		s := manifest.StageOne{Cryptsetup: program, LUKS: []manifest.LUKSDevice{c.device}}
		if got := dangers(t, s, map[string][]byte{"/key": []byte(c.key)}); len(got) > 0 != c.danger {
			t.Errorf("%s: %v", name, got)
		}
		if got := dangers(t, s, nil); len(got) > 0 {
			t.Errorf("%s, a key file that is not ours: %v", name, got)
		}
		s.Cryptsetup = "/nonexistent"
		if got := dangers(t, s, map[string][]byte{"/key": []byte(c.key)}); len(got) > 0 && c.key != "" {
			t.Errorf("%s, without cryptsetup: %v", name, got)
		}
	}
}

// A signal is no answer.
func TestSignal(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("terminated")
	cancel(cause)
	s := manifest.StageOne{LUKS: []manifest.LUKSDevice{{Device: "/dev/null", KeyFile: "/key"}}}
	if _, err := lockout.Dangers(ctx, &s, map[string][]byte{"/key": nil}, time.Minute); !errors.Is(err,
		cause) {
		t.Errorf("got %v", err)
	}
}
