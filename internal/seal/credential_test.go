package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestNull(t *testing.T) {
	t.Parallel()
	text, err := Seal(nil, Options{Name: "n", Format: Null}, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := Open(nil, "n", text); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Open(nil, "m", text); !errors.Is(err, ErrName) {
		t.Errorf("another name: %v", err)
	}
	raw, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := Open(nil, "n", []byte(base64.StdEncoding.EncodeToString(bad))); err == nil {
			t.Errorf("byte %d was changed and it opens", i)
		}
		if _, err := Open(nil, "n", []byte(base64.StdEncoding.EncodeToString(raw[:i]))); err == nil {
			t.Errorf("it was cut at byte %d and opens", i)
		}
	}
}

func TestSeal_refused(t *testing.T) {
	t.Parallel()
	for what, o := range map[string]Options{
		"no name":        {Format: Null},
		"path as a name": {Name: "a/b", Format: Null},
		"long name":      {Name: strings.Repeat("n", 256), Format: Null},
		"no format":      {Name: "n"},
		"no such format": {Name: "n", Format: "tpm1"},
		"no such PCR":    {Name: "n", Format: Null, PCRs: []uint{24}},
	} {
		if _, err := Seal(nil, o, nil); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := Seal(nil, Options{Name: "n", Format: Null}, make([]byte, MaxData+1)); err == nil {
		t.Error("more than a credential holds was taken")
	}
}

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	rsa := "tpm2-srk:" + base64.StdEncoding.EncodeToString([]byte{0, 1, 0, 11, 0, 3, 4, 0x72, 0, 0})
	for _, s := range []string{"", "tpm2", "tpm2:", "null:AAAA", "tpm2:!!!!", "tpm2:AAAA", "age1qqq", "tpm3:AAAA", rsa} {
		if _, err := ParsePublicKey(s); err == nil {
			t.Errorf("%q was taken for the public key of a TPM", s)
		}
	}
}

// TestTmpfiles has systemd-tmpfiles lay the files out.
func TestTmpfiles(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-tmpfiles"); err != nil || os.Geteuid() != 0 {
		t.Skip("not here: systemd-tmpfiles as root")
	}
	root := t.TempDir()
	files := []File{
		{Path: "/run/secrets/luks", Mode: 0o400, Data: bytes.Repeat([]byte{0, 255, '\n', '%'}, 1000)},
		{Path: "/etc/wg.key", Mode: 0o640, UID: 152, GID: 153, Data: []byte("key\n")},
		{Path: "/etc/empty", Mode: 0o444},
		{Path: `/etc/50%h "quoted" 'x'\n b`, Mode: 0o600, Data: []byte("strange")},
		{Path: "/etc/schlüssel", Mode: 0o600, Data: []byte("ü")},
		{Path: "/etc/replaced", Mode: 0o600, Data: []byte("new")},
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/replaced"), []byte("of the initrd, and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "list.conf")
	if err := os.WriteFile(list, Tmpfiles(files), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-tmpfiles", "--create", "--root="+root, list).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range files {
		got, err := os.ReadFile(root + f.Path)
		if err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s: %q, %v", f.Path, got, err)
			continue
		}
		info, _ := os.Stat(root + f.Path)
		out, _ := exec.Command("stat", "-c", "%a %u %g", root+f.Path).Output()
		if want := fmt.Sprintf("%o %d %d\n", f.Mode, f.UID, f.GID); string(out) != want {
			t.Errorf("%s: %s is %s, not %s", f.Path, info.Mode(), out, want)
		}
	}
}

// FuzzOpen: whatever a boot partition holds ends with an error or with what was encrypted.
func FuzzOpen(f *testing.F) {
	null, err := Seal(nil, Options{Name: "n", Format: Null}, []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(null)
	for format, l := range layouts {
		h := header{format: format, blob: []byte("blob"), policy: make([]byte, 32), srk: []byte("key")}
		text, err := encrypt(&h, nil, "n", []byte("content"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add([]byte(base64.StdEncoding.EncodeToString(append(l.id[:], bytes.Repeat([]byte{0xff}, 100)...))))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		raw, err := decode(text)
		if err != nil {
			return
		}
		h, aad, rest, err := parse(raw)
		if err != nil {
			return
		}
		if len(aad)+len(rest) != len(raw) {
			t.Error("bytes went missing")
		}
		if again, _, _, err := parse(append(h.encode(), rest...)); err != nil || again.format != h.format || !bytes.Equal(again.blob, h.blob) {
			t.Errorf("written again it is another one: %v", err)
		}
		if data, err := decrypt(h, aad, rest, nil, "n"); err == nil && string(data) != "content" {
			t.Error("forged")
		}
	})
}
