package resolve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// report is what a program prints of an error.
func report(err error) string {
	var b bytes.Buffer
	cli.Report(cli.Env{Stderr: &b}, "p", err)
	return b.String()
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Of ten files several are bad, each in its own way: all others have their values, and all
// faults are told at once, in the order of the manifest, each run alike.
func TestRun_badFilesAmongTen(t *testing.T) {
	t.Parallel()
	recipient := testkeys.Public(t, testkeys.Age)
	req := resolve.Request{Keys: manifest.KeySources{AgeKeyFile: testkeys.Path(t, testkeys.Age)}}
	var paths []string
	for i := range 10 {
		path := testkeys.Encrypt(t, "yaml", fmt.Sprintf("a: value %d\nb: c\n", i), "--age", recipient)
		switch i {
		case 2: // tampered with
			path = write(t, regexp.MustCompile(`(?m)^b: .*\n`).ReplaceAllString(read(t, path), ""))
		case 4: // for another key
			path = testkeys.Encrypt(t, "yaml", "a: b\nb: c\n", "--age", testkeys.Public(t,
				testkeys.AgeOther))
		case 7: // not there
			path = "/no/such/file"
		case 8: // not of sops
			path = write(t, "a: POISON\n")
		}
		paths = append(paths, path)
		for _, key := range []string{"a", "b"} {
			req.Secrets = append(req.Secrets, manifest.Source{
				Name: fmt.Sprint(key, i), SopsFile: path,
				Format: manifest.YAML, Key: key,
			})
		}
	}
	req.Secrets[10].Key = "nowhere" // of file 5
	req.Templates = []manifest.Text{{Name: "good", Content: "<0>"}, {
		Name:    "bad",
		Content: "<0><4><2>",
	}, {Name: "unknown", Content: "<x>"}}
	req.Placeholders = map[string]string{"a0": "<0>", "a4": "<4>", "a2": "<2>", "x": "<x>"}
	want := strings.ReplaceAll(`decrypt @2 for secrets "a2", "b2": its message authentication code does not fit: values were added, removed or changed without sops
decrypt @4 for secrets "a4", "b4": no key fits (encrypted for `+testkeys.Public(t, testkeys.AgeOther)+`)
secret "a5": @5: key "nowhere": there is no "nowhere" (it has: a, b)
read @7 for secrets "a7", "b7": no such file or directory
read @8 for secrets "a8", "b8": not encrypted with sops: there are no sops metadata in it
template "bad": secrets "a2", "a4" could not be decrypted
template "unknown": the secret "x" is not in this manifest (secrets for users are in one of their own)`, "@", "\x00")
	for i, path := range paths {
		want = strings.ReplaceAll(want, fmt.Sprintf("\x00%d", i), path)
	}
	var first string
	for range 10 {
		result := resolve.Run(context.Background(), req)
		if err := result.Err(); err == nil || err.Error() != want {
			t.Fatalf("error is\n%v\nwant\n%s", err, want)
		}
		printed := report(result.Err())
		if first == "" {
			first = printed
		}
		if printed != first {
			t.Errorf("one run prints\n%s\nanother\n%s", first, printed)
		}
		for _, s := range req.Secrets {
			v, ok := result.Secrets[s.Name]
			bad := s.Name == "a5" || strings.ContainsAny(s.Name, "2478")
			if !ok || (v.Err != nil) != bad || (v.Data != nil) == bad {
				t.Errorf("secret %s: %q, %v", s.Name, v.Data, v.Err)
			}
		}
		if got := result.Templates["good"]; string(got.Data) != "value 0" || got.Err != nil {
			t.Errorf("template: %q, %v", got.Data, got.Err)
		}
	}
	hint := "p: hint: " + req.Keys.AgeKeyFile + ": age key of " + recipient + "\n" +
		"p: hint: to let this host decrypt it, add \"" + recipient + "\" to the age recipients of " +
		paths[4] + " in .sops.yaml and run: sops updatekeys " + paths[4] + "\n"
	if !strings.HasSuffix(first, hint) || strings.Count(first, "hint:") != 2 {
		t.Errorf("printed\n%s\nwant it to end in\n%s", first, hint)
	}
}

// A name in the Nix store is told as its user knows it.
func TestRun_adviceInTheStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, want string }{
		{"/nix/store/00000000000000000000000000000000-secrets.yaml", "sops updatekeys secrets.yaml"},
		{
			"/nix/store/00000000000000000000000000000000-source/hosts/a.yaml",
			"sops updatekeys hosts/a.yaml",
		},
		{"/etc/secrets.yaml", "sops updatekeys /etc/secrets.yaml"},
	} {
		if got := "sops updatekeys " + resolve.SourceName(c.path); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	own, other := testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.AgeOther)
	converted := sshToAge(t, own)
	good := testkeys.Encrypt(t, "yaml", "a: b\n", "--age", other+","+converted+","+own)
	bad := testkeys.Encrypt(t, "json", `{"a": "b"}`, "--age", other)
	ssh, passphrase := testkeys.Path(t, testkeys.SSHEd25519), testkeys.Path(t,
		testkeys.SSHEd25519Passphrase)
	shamir, err := filepath.Abs("../sopsfile/testdata/corpus/v3.13.3/shamir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := resolve.Run(context.Background(), resolve.Request{
		Keys: manifest.KeySources{AgeSSHKeyPaths: []string{ssh, passphrase}, AgeKeyFile: "/no/such/key"},
		Secrets: []manifest.Source{
			{Name: "s", SopsFile: good, Format: manifest.YAML, Key: "a"},
			{Name: "missing", SopsFile: good, Format: manifest.YAML, Key: "x"},
			{Name: "t", SopsFile: bad, Format: manifest.JSON, Key: "a"},
			{Name: "u", SopsFile: "/no/such/file", Format: manifest.INI},
			{Name: "v", SopsFile: shamir, Format: manifest.YAML},
		},
	}).Diagnosis()
	var text bytes.Buffer
	if err := d.Text(&text); err != nil {
		t.Fatal(err)
	}
	advice := func(path string) string {
		return "to let this host decrypt it, add \"" + converted + "\" to the age recipients of " +
			path + " in .sops.yaml and run: sops updatekeys " + path
	}
	want := good + `: can be decrypted
  secret "missing": key "x": there is no "x" (it has: a)
  encrypted for:
    ` + other + `: no key of this host fits
    ` + converted + `: opened with ` + ssh + `
    ` + own + `: not needed
` + bad + `: cannot be decrypted
  no key fits (encrypted for ` + other + `)
  encrypted for:
    ` + other + `: no key of this host fits
  ` + advice(bad) + `
/no/such/file: cannot be decrypted
  no such file or directory
` + shamir + `: cannot be decrypted
  keys of 2 key groups are needed and only 0 fit (encrypted for PGP 2999768FD0F53E41D733D886B5DE33903C05675C, PGP 759DB3A3ECCF53A548DE37CDE66A18AC00D6A047, PGP BCEC1216F0A18664A7B288CD1050F7A7FB338ECA, PGP ACB4928090543B8B34568E92C4BFF35F5197F52B)
  encrypted for:
    key group 1 of 3 (keys of 2 groups are needed):
    PGP 2999768FD0F53E41D733D886B5DE33903C05675C: no key of this host fits
    PGP 759DB3A3ECCF53A548DE37CDE66A18AC00D6A047: no key of this host fits
    key group 2 of 3 (keys of 2 groups are needed):
    PGP BCEC1216F0A18664A7B288CD1050F7A7FB338ECA: no key of this host fits
    key group 3 of 3 (keys of 2 groups are needed):
    PGP ACB4928090543B8B34568E92C4BFF35F5197F52B: no key of this host fits
  ` + advice(shamir) + `
keys of this host:
  ` + ssh + `: ssh-ed25519 key of ` + converted + `, ` + own + `
skipped:
  ` + passphrase + `: the key has a passphrase; name a key without one, or take it away: ssh-keygen -p -N '' -f ` + passphrase + `
  /no/such/key: does not exist
`
	if text.String() != want {
		t.Errorf("text is\n%s\nwant\n%s", text.String(), want)
	}
	if d.OK() {
		t.Error("it says that all is well")
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct {
		Files []struct {
			Path       string
			Decrypted  bool
			Recipients []struct{ ID, Type, Outcome, Source string }
		}
		Identities []struct{ Source, Type string }
		Skipped    []struct{ Source, Reason string }
	}
	if err := json.Unmarshal(data, &decoded); err != nil {
		t.Fatal(err)
	}
	f := decoded.Files[0]
	if !f.Decrypted || f.Recipients[1].Outcome != "opened" || f.Recipients[1].Source != ssh ||
		f.Recipients[1].ID != converted || f.Recipients[2].Outcome != "not needed" {
		t.Errorf("JSON has %+v", f)
	}
	if decoded.Files[1].Decrypted || decoded.Identities[0].Type != "ssh-ed25519" ||
		decoded.Skipped[1].Source != "/no/such/key" {
		t.Errorf("JSON has %+v", decoded)
	}
	fine := resolve.Run(context.Background(), resolve.Request{
		Keys:    manifest.KeySources{AgeSSHKeyPaths: []string{ssh}},
		Secrets: []manifest.Source{{Name: "s", SopsFile: good, Format: manifest.YAML, Key: "a"}},
	}).Diagnosis()
	if !fine.OK() {
		t.Errorf("faults: %+v", fine.Files)
	}
}

// In no output is a byte of a secret, of a private key, of a data key, or a message
// authentication code.
func TestOutputs_holdNoSecrets(t *testing.T) {
	t.Parallel()
	const poison = "POISON-5cf1d9"
	recipient := testkeys.Public(t, testkeys.Age)
	env := []string{"SOPS_AGE_KEY_FILE=" + testkeys.Path(t, testkeys.Age)}
	text := "a: " + poison + "\nb:\n    - " + poison + "\n# " + poison + "\nc: 5150515051\n"
	good := testkeys.Encrypt(t, "yaml", text, "--age", recipient)
	encrypted := read(t, good)
	badMAC := write(t, regexp.MustCompile(`(?m)^c: .*\n`).ReplaceAllString(encrypted, ""))
	forbidden := append([]string{poison, "5150515051", "AGE-SECRET-KEY-", "OPENSSH"}, macs(t, env,
		badMAC)...)
	for _, name := range []string{
		testkeys.Age, testkeys.SSHEd25519, testkeys.SSHRSA2048,
		testkeys.SSHECDSA, testkeys.SSHEd25519Passphrase,
	} {
		public := ""
		if strings.HasPrefix(name, "ssh_") {
			public = testkeys.Public(t, name)
		}
		for _, l := range strings.Split(string(testkeys.Data(t, name)), "\n") {
			if len(l) > 30 && !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "---") &&
				!strings.Contains(public, l) {
				forbidden = append(forbidden, l)
			}
		}
	}
	brokenAge := write(t, strings.TrimSpace(string(testkeys.Data(t,
		testkeys.Age)))+"X\n"+poison+"\nAGE-PLUGIN-"+poison+"-1QQQQ\n")
	brokenSSH := write(t, strings.Replace(string(testkeys.Data(t, testkeys.SSHEd25519)), "AAAA",
		poison, 1))
	cmd := write(t, "#!/bin/sh\necho "+poison+"; echo "+poison+" >&2; exit 1\n")
	if err := os.Chmod(cmd, 0o700); err != nil {
		t.Fatal(err)
	}
	keys := map[string]manifest.KeySources{
		"good": {AgeKeyFile: testkeys.Path(t, testkeys.Age), AgeSSHKeyPaths: []string{testkeys.Path(t,
			testkeys.SSHRSA2048)}},
		"broken": {AgeKeyFile: brokenAge, AgeSSHKeyPaths: []string{brokenSSH, testkeys.Path(t,
			testkeys.SSHEd25519Passphrase), testkeys.Path(t, testkeys.SSHECDSA)}},
		"wrong": {AgeSSHKeyPaths: []string{testkeys.Path(t, testkeys.SSHEd25519)}},
	}
	files := []string{good, badMAC}
	for _, change := range [][2]string{
		{"a: ENC[", "a: " + poison + "["},
		{"c: ENC[AES256_GCM,data:", "c: 5150515051 #"},
		{"a: ENC[AES256_GCM,data:", "a: ENC[AES256_GCM,data:AAAA"},
		{"mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AAAA"},
		{"lastmodified: ", "lastmodified: " + poison + " #"},
		{"sops:", poison + ":"},
		{"a: ENC[", poison + "\n" + poison + "\na: ENC["},
		{"-----BEGIN AGE", "-----" + poison},
		{"type:str", "type:" + poison},
	} {
		changed := strings.Replace(encrypted, change[0], change[1], 1)
		if changed == encrypted {
			t.Fatalf("no %q", change[0])
		}
		files = append(files, write(t, changed))
	}
	files = append(files, write(t, poison), write(t, poison+"="), write(t, poison+"="+poison),
		write(t, "["+poison+"]\n"+poison), write(t, `"`+poison+`"`), write(t, `{"`+poison+`"`))
	for name, sources := range keys {
		for _, file := range files {
			for _, format := range []manifest.Format{
				manifest.YAML, manifest.JSON, manifest.Binary,
				manifest.Dotenv, manifest.INI,
			} {
				req := resolve.Request{
					Keys: sources,
					Getenv: func(v string) string {
						return map[string]string{
							"SOPS_AGE_KEY_CMD": cmd,
							"SOPS_AGE_KEY":     poison,
						}[v]
					},
					Templates: []manifest.Text{{Name: "t", Content: "<a><SOPS:" + strings.Repeat("0", 64) +
						":PLACEHOLDER>"}},
					Placeholders: map[string]string{"s": "<a>"},
				}
				for i, key := range []string{"a", "b", "b/0/x", "a/x", "b/9", "c/1", "none", ""} {
					req.Secrets = append(req.Secrets, manifest.Source{
						Name: "s" + fmt.Sprint(i), SopsFile: file,
						Format: format, Key: key,
					})
				}
				result := resolve.Run(context.Background(), req)
				diagnosis := result.Diagnosis()
				var out bytes.Buffer
				out.WriteString(report(result.Err()) + report(resolve.Check(req, resolve.CheckSopsFile)))
				out.WriteString(strings.Join(append(result.Notes, result.Warnings...), "\n"))
				out.WriteString(report(resolve.Inputs(req, new(bytes.Buffer))))
				if err := diagnosis.Text(&out); err != nil {
					t.Fatal(err)
				}
				if err := json.NewEncoder(&out).Encode(diagnosis); err != nil {
					t.Fatal(err)
				}
				for _, f := range forbidden {
					if strings.Contains(out.String(), f) {
						t.Fatalf("with %s keys, file %s as %s: %q is in\n%s", name, file, format, f, out.String())
					}
				}
			}
		}
	}
}

// macs are the message authentication codes of a file in which they do not fit, as sops prints
// them.
func macs(t *testing.T, env []string, path string) []string {
	t.Helper()
	cmd := exec.Command(testkeys.SOPS(t), "decrypt", "--input-type", "yaml", path)
	cmd.Env = append(env, "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	codes := regexp.MustCompile(`[0-9A-F]{128}`).FindAllString(string(out), -1)
	if err == nil || len(codes) != 2 {
		t.Fatalf("sops prints %q, %v", out, err)
	}
	return append(codes, strings.ToLower(codes[0]), strings.ToLower(codes[1]))
}
