package bootstrap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func TestRequest_nix(t *testing.T) {
	t.Parallel()
	// The example is evaluated with the NixOS module in nixos/tests/eval.
	want, err := os.ReadFile("../../docs/examples/bootstrap.nix")
	if err != nil {
		t.Fatal(err)
	}
	r := Request{File: "secrets/server01.yaml", Port: 2222, LUKS: "root"}
	if diff := cmp.Diff(string(want), r.nix()); diff != "" {
		t.Errorf("docs/examples/bootstrap.nix (-want +got):\n%s", diff)
	}
}

func TestNixPath(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"a.yaml":             "./a.yaml",
		"./secrets/a.yaml":   "./secrets/a.yaml",
		"../secrets/a.yaml":  "../secrets/a.yaml",
		"../../a.yaml":       "../../a.yaml",
		"/etc/nixos/a.yaml":  "/etc/nixos/a.yaml",
		"my secrets/a.yaml":  `(./. + "/my secrets/a.yaml")`,
		"../my secrets/a":    `(../. + "/my secrets/a")`,
		"/srv/my secrets/a":  `(/. + "/srv/my secrets/a")`,
		`a"b\c${d}.yaml`:     `(./. + "/a\"b\\c\${d}.yaml")`,
		"secrets/ä.yaml":     `(./. + "/secrets/ä.yaml")`,
		"secrets//x/../a.ya": "./secrets/a.ya",
	} {
		if got := nixPath(file); got != want {
			t.Errorf("nixPath(%q) = %s, want %s", file, got, want)
		}
	}
}

func TestFindHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ed, rsa := testkeys.Public(t, testkeys.SSHEd25519), testkeys.Public(t, testkeys.SSHRSA2048)
	const (
		edAge  = "age1hkpxawruxazyyrd7l2wt5rxs07pum6t9qcszve6q2ykxvv5n356s3ghqzk"
		rsaPGP = "2999768FD0F53E41D733D886B5DE33903C05675C"
	)
	pq := testkeys.Public(t, testkeys.AgePQ)
	for _, c := range []struct {
		name, key  string
		flag, want string // what sops is told
		err        string
	}{
		{"ed25519 line", ed + " root@server01", "--age", edAge, ""},
		{"RSA line", rsa, "--age", rsa, ""},
		{"ed25519 before RSA", write("both", "h "+rsa+"\nh "+ed+"\n"), "--age", edAge, ""},
		{"age recipient", edAge, "--age", edAge, ""},
		{"post-quantum recipient", pq, "--age", pq, ""},
		{"fingerprint", strings.ToLower(rsaPGP), "--pgp", rsaPGP, ""},
		{"damaged recipient", edAge[:20], "", "", "is not an age recipient"},
		{"damaged line", "ssh-ed25519 AAAA", "", "", "not an SSH public key"},
		{
			"damaged line of a file", write("damaged", "\nssh-ed25519 AAAA"), "", "",
			"line 2: not an SSH public key",
		},
		{
			"other types only", write("ecdsa", testkeys.Public(t, testkeys.SSHECDSA)), "", "",
			"no ed25519 and no RSA key",
		},
		{
			"private key", write("private", string(testkeys.Data(t, testkeys.SSHEd25519))), "", "",
			"this is a private key",
		},
		{
			"text of a private key", string(testkeys.Data(t, testkeys.SSHEd25519)), "", "",
			"host key: this is a private key, where the public one is wanted",
		},
		{"no file", filepath.Join(dir, "none"), "", "", "no such file"},
	} {
		got, err := findHost(c.key)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: the error quotes the key: %v", c.name, err)
		}
		if flag, value := got.Flag(); flag != c.flag || value != c.want {
			t.Errorf("%s: %s %s, want %s %s", c.name, flag, value, c.flag, c.want)
		}
	}
}

func TestHost_among(t *testing.T) {
	t.Parallel()
	h, err := findHost(testkeys.Public(t, testkeys.SSHRSA2048))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		"2999768fd0f53e41d733d886b5de33903c05675c":           true, // people copy what ssh-to-pgp prints
		testkeys.Public(t, testkeys.SSHRSA2048):              true,
		testkeys.Public(t, testkeys.SSHRSA4096):              false,
		"arn:aws:kms:eu-west-1:000000000000:key/aaaa-bbbb":   false,
		"2999768FD0F53E41D733D886B5DE33903C05675C0000000000": false,
	} {
		if got := h.Among([]sopsfile.Recipient{{Type: "age", ID: "age1x"}, {ID: id}}); got != want {
			t.Errorf("among %q is %v", id, got)
		}
	}
}

func TestWithHost(t *testing.T) {
	t.Parallel()
	host := testkeys.Public(t, testkeys.Age)
	key, err := recipient.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	e := encryption{Request: Request{File: "f.yaml"}, host: key}
	got, err := e.withHost([]sopsfile.Recipient{{Type: "pgp", ID: "AA"}, {
		Type: "age",
		ID:   "age1admin",
	}, {Type: "pgp", ID: "BB"}})
	if diff := cmp.Diff([]string{"--age", host + ",age1admin", "--pgp", "AA,BB"}, got); diff != "" ||
		err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, r := range map[string]sopsfile.Recipient{
		"kms":          {Type: "kms", ID: "arn"},
		"second group": {Type: "age", ID: "age1x", Group: 1},
	} {
		if flags, err := e.withHost([]sopsfile.Recipient{r}); err == nil {
			t.Errorf("%s: %q, want an error", name, flags)
		}
	}
}

// What sops says is passed on, but never a secret that it quotes.
func TestRun_quotingSOPS(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"error":  "#!/bin/sh\necho 'bad input:' >&2; cat \"$(eval echo \\${$#})\" >&2; exit 3\n",
		"output": "#!/bin/sh\necho 'sops: {}'; cat \"$(eval echo \\${$#})\"\n",
		"words":  "#!/bin/sh\ncat >/dev/null; echo 'no such recipient' >&2; exit 3\n",
	} {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "sops"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		r := Request{
			File: filepath.Join(dir, name+".yaml"), Name: "h", Port: 22, HostKey: testkeys.Public(t,
				testkeys.SSHEd25519),
		}
		_, err := Run(context.Background(), r)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if strings.Contains(err.Error(), "BEGIN OPENSSH") {
			t.Errorf("%s: the error quotes the key:\n%v", name, err)
		}
		if quoted := strings.Contains(err.Error(), "no such recipient"); quoted != (name == "words") {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := os.Lstat(r.File); err == nil {
			t.Errorf("%s: the file was made", name)
		}
	}
}
