package initrdsecrets

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// Whatever is said to be a host key is judged as ssh-keygen judges it.
func TestCheckKeys(t *testing.T) {
	t.Parallel()
	key := string(testkeys.Data(t, testkeys.SSHEd25519))
	rsa := string(testkeys.Data(t, testkeys.SSHRSA2048))
	lines := strings.SplitAfter(key, "\n")
	replace := func(old, new string) string { return strings.ReplaceAll(key, old, new) }
	for _, c := range []struct {
		name, data string
		mode       fs.FileMode
		want       string // fault
		note       bool
	}{
		{"good", key, 0o400, "", false},
		{"RSA", rsa, 0o600, "", false},
		{"ECDSA", string(testkeys.Data(t, testkeys.SSHECDSA)), 0o400, "", false},
		{"text behind it", key + "and more\n", 0o400, "", false},
		{"no line feed at its end", strings.TrimSuffix(key, "\n"), 0o400, "", true},
		{"no line feed at the end of RSA", strings.TrimSuffix(rsa, "\n"), 0o400, "", true},
		{"CR LF", replace("\n", "\r\n"), 0o400, "end in CR LF", false},
		{
			"CR LF, the last one lost", strings.TrimSuffix(replace("\n", "\r\n"), "\r\n"), 0o400,
			"end in CR LF", false,
		},
		{"indented", replace("\n", "\n  "), 0o400, "indented", false},
		{"indented from the start", "  " + replace("\n", "\n  "), 0o400, "indented", false},
		{"folded", replace("\n", " "), 0o400, "line breaks are lost", false},
		{"empty line before it", "\n" + key, 0o400, "stands before", false},
		{"byte order mark", "\ufeff" + key, 0o400, "stands before", false},
		{"cut", strings.Join(lines[:3], ""), 0o400, "", false},
		{
			"a line lost", strings.Join(lines[:2], "") + strings.Join(lines[3:], ""), 0o400, "damaged",
			false,
		},
		{
			"passphrase", string(testkeys.Data(t, testkeys.SSHEd25519Passphrase)), 0o400, "passphrase",
			false,
		},
		{"public half", testkeys.Public(t, testkeys.SSHEd25519) + "\n", 0o400, "public key", false},
		{"something else", "changeme", 0o400, "no SSH private key", false},
		{"empty", "", 0o400, "no SSH private key", false},
		{"loose", key, 0o440, "mode 0440", false},
		{"searchable", key, 0o401, "mode 0401", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "cut" {
				c.want = "line breaks are lost"
			}
			check := func(path string, mode fs.FileMode) (data []byte, notes int, err error) {
				j := &job{manifest: &manifest.Initrd{}}
				entries := []initrd.Entry{{Path: path, Mode: mode, Data: []byte(c.data)}}
				err = j.checkKeys(entries, true)
				return entries[0].Data, len(j.notes), err
			}
			data, notes, err := check("/etc/ssh/ssh_host_ed25519_key", c.mode)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) ||
				notes > 0 != c.note {
				t.Errorf("fault %v and %d notes, want %q, %v", err, notes, c.want, c.note)
			}
			_, _, elsewhere := check("/etc/other", c.mode)
			if judged := isPrivateKey([]byte(c.data)); elsewhere != nil && !judged {
				t.Errorf("of no host key: %v", elsewhere)
			}
			if _, err := exec.LookPath("ssh-keygen"); err != nil || c.mode != 0o400 {
				return
			}
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, data, 0o400); err != nil {
				t.Fatal(err)
			}
			if loads := exec.Command("ssh-keygen", "-y", "-P", "", "-f",
				file).Run() == nil; loads != (c.want == "") {
				t.Errorf("ssh-keygen loads it: %v, but the fault is %v", loads, err)
			}
		})
	}
}
