package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	uroot "github.com/u-root/u-root/pkg/cpio"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/seal"
	"github.com/sops-initrd/sops-initrd/internal/test/swtpm"
)

const (
	luksValue = "planted-luks-value-of-the-test"
	wgValue   = "planted-wireguard-value-of-the-test"
)

// sealingHost is a host with a TPM and a manifest that seals two files and a credential.
type sealingHost struct {
	host
	tpm      *swtpm.TPM
	device   string
	commands func() int
	base     string
}

func newSealingHost(t *testing.T) sealingHost {
	t.Helper()
	h := sealingHost{host: newHost(t), tpm: swtpm.New(t)}
	h.device, h.commands = h.tpm.Counted(t)
	h.base = h.write("base", string(emptyArchive(t)))
	h.encrypt("s.json", map[string]string{"luks": luksValue, "wg": wgValue})
	return h
}

func emptyArchive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := uroot.Newc.Writer(&b)
	if err := uroot.WriteRecordsAndDirs(w, []uroot.Record{uroot.StaticFile("etc/of-the-base", "x", 0o444)}); err != nil {
		t.Fatal(err)
	}
	if err := uroot.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (h sealingHost) manifest(name, mode, sealing string) string {
	h.Helper()
	entries := []map[string]any{
		{"path": "/etc/luks.key", "secret": "luks", "seal": mode, "mode": "0440", "uid": 7},
		{"path": "/etc/wg.key", "secret": "wg", "seal": mode},
		{"credential": "wg.private", "secret": "wg", "seal": mode},
	}
	m := map[string]any{
		"version": 2, "ageKeyFile": h.path("key.txt"), "entries": entries, "seal": json.RawMessage(sealing),
		"secrets": []map[string]any{
			{"name": "luks", "key": "luks", "sopsFile": h.path("s.json"), "format": "json"},
			{"name": "wg", "key": "wg", "sopsFile": h.path("s.json"), "format": "json"},
		},
	}
	data, err := json.Marshal(m)
	if err != nil {
		h.Fatal(err)
	}
	return h.write(name, string(data))
}

func (h sealingHost) install(status int, manifest, image string, more ...string) string {
	h.Helper()
	_, stderr := h.run(status, append([]string{
		"append", "--manifest", manifest, "--base", h.base, "--tpm", h.device,
		"--state", h.path("state"), image,
	}, more...)...)
	return stderr
}

// noValue looks for the values in an image, in each way that we write them.
func (h sealingHost) noValue(image string) {
	h.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		h.Fatal(err)
	}
	for _, value := range []string{luksValue, wgValue} {
		for shift := range 3 { // base64 of a value depends on where it begins
			text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
			if bytes.Contains(data, []byte(value)) || bytes.Contains(data, []byte(text[4:len(text)-4])) {
				h.Errorf("%s has a value in plain", image)
			}
		}
	}
}

// opened is what the TPM makes of a credential in an image.
func (h sealingHost) opened(image, name string) string {
	h.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		h.Fatal(err)
	}
	_, rest, ok := bytes.Cut(data, []byte(".extra/credentials/"+name+".cred\x00"))
	if !ok {
		h.Fatalf("%s has no credential %s", image, name)
	}
	text, _, _ := bytes.Cut(bytes.TrimLeft(rest, "\x00"), []byte("\n"))
	tpm, err := seal.Dial(h.Context(), h.tpm.Device())
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = tpm.Close() }()
	content, err := seal.Open(tpm, name, text)
	if err != nil {
		h.Fatal(err)
	}
	return string(content)
}

func TestSeal(t *testing.T) {
	t.Parallel()
	h := newSealingHost(t)
	manifest := h.manifest("m.json", "tpm2", `{"format": "tpm2-srk"}`)
	image := h.write("image", string(h.read("base")))
	h.run(cli.Done, "enroll", "--tpm", h.device) // makes the storage root key

	before := h.commands()
	h.install(cli.Done, manifest, image)
	// Two credentials: the files, and the one of the manifest.
	if n := h.commands() - before; n > 24 {
		t.Errorf("sealed with %d commands", n)
	}
	h.noValue(image)
	want := "f+~ \"/etc/luks.key\" 0440 7 0 - " + base64.StdEncoding.EncodeToString([]byte(luksValue)) + "\n" +
		"f+~ \"/etc/wg.key\" 0400 0 0 - " + base64.StdEncoding.EncodeToString([]byte(wgValue)) + "\n"
	if got := h.opened(image, "sops-initrd"); got != want {
		t.Errorf("the TPM opens %q", got)
	}
	if got := h.opened(image, "wg.private"); got != wgValue {
		t.Errorf("the TPM opens %q", got)
	}
	if out, _ := h.run(cli.Done, "verify", "--manifest", manifest, "--tpm", h.device, image); !strings.Contains(out, "whole") {
		t.Errorf("verify: %s", out)
	}

	first := h.read("image")
	before = h.commands()
	h.install(cli.Done, manifest, image)
	if n := h.commands() - before; n > 1 {
		t.Errorf("unchanged with %d commands", n)
	}
	if !bytes.Equal(h.read("image"), first) {
		t.Error("the same inputs were sealed again")
	}

	t.Run("forged", func(t *testing.T) {
		h := h
		h.T = t
		// Whoever can write the image knows the digest of its inputs.
		i, err := initrd.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		found, err := i.Segment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		forged, err := initrd.NewSegment([]initrd.Entry{
			{Path: "/etc/of-a-stranger", Mode: 0o755, Data: []byte("planted by a stranger")},
		}, found.Inputs, initrd.Profile{CopyDir: "/.initrd-secrets"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := initrd.Install(t.Context(), image, forged, initrd.Options{Base: h.base}); err != nil {
			t.Fatal(err)
		}
		h.install(cli.Done, manifest, image)
		if bytes.Contains(h.read("image"), []byte("planted by a stranger")) {
			t.Error("what somebody else put into the image was kept")
		}
		h.opened(image, "wg.private")
	})
	t.Run("another value", func(t *testing.T) {
		h := h
		h.T = t
		h.encrypt("s.json", map[string]string{"luks": "another-value-for-the-disk", "wg": wgValue})
		h.install(cli.Done, manifest, image)
		if got := h.opened(image, "sops-initrd"); !strings.Contains(got, base64.StdEncoding.EncodeToString([]byte("another-value-for-the-disk"))) {
			t.Errorf("the TPM opens %q", got)
		}
	})
	t.Run("a cleared TPM", func(t *testing.T) {
		h := h
		h.T = t
		h.tpm.Replace(t)
		old := h.read("image")
		if out, _ := h.run(cli.Failed, "verify", "--manifest", manifest, "--tpm", h.device, image); !strings.Contains(out, "other") && !strings.Contains(out, "out of date") {
			t.Errorf("verify: %s", out)
		}
		h.install(cli.Done, manifest, image)
		if bytes.Equal(h.read("image"), old) {
			t.Error("what another TPM sealed was left in place")
		}
		h.opened(image, "sops-initrd")
	})
	t.Run("keys are gone", func(t *testing.T) {
		h := h
		h.T = t
		old := h.read("image")
		h.write("key.txt", "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n")
		stderr := h.install(cli.Done, manifest, image)
		if !strings.Contains(stderr, "kept") || !bytes.Equal(h.read("image"), old) {
			t.Errorf("a sealed segment was not salvaged: %s", stderr)
		}
	})
	t.Run("removed", func(t *testing.T) {
		h := h
		h.T = t
		h.run(cli.Done, "remove", image)
		if !bytes.Equal(h.read("image"), h.read("base")) {
			t.Error("the base is not back")
		}
	})
}

// TestSeal_badDays: each with its reason, and the image as it was.
func TestSeal_badDays(t *testing.T) {
	t.Parallel()
	h := newSealingHost(t)
	sealed := h.manifest("m.json", "tpm2", `{"format": "tpm2"}`)
	ifPossible := h.manifest("p.json", "tpm2-or-plain", `{"format": "tpm2"}`)
	image := h.write("image", string(h.read("base")))
	h.write("not-a-key", "ssh-ed25519 AAAA\n")
	none := h.path("no-tpm")

	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"no TPM", "no TPM", []string{"--tpm", none}},
		{"not a key of a TPM", "public key of a TPM", []string{"--seal-for", h.path("not-a-key")}},
		{"no such file", "no such file", []string{"--seal-for", h.path("nowhere")}},
		{"a directory", "is a directory", []string{"--seal-for", h.dir}},
		{"a device", "is a device", []string{"--seal-for", "/dev/zero"}},
	} {
		if stderr := h.install(cli.Failed, sealed, image, c.args...); !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %s", c.name, stderr)
		}
		if !bytes.Equal(h.read("image"), h.read("base")) {
			t.Fatalf("%s: the image was changed", c.name)
		}
	}

	stderr := h.install(cli.Done, ifPossible, image, "--tpm", none)
	if !strings.Contains(stderr, "unencrypted") {
		t.Errorf("plain without a warning: %s", stderr)
	}
	if !bytes.Contains(h.read("image"), []byte(luksValue)) {
		t.Error("plain where there is no TPM: it is not there")
	}
	if got := h.opened(image, "wg.private"); got != wgValue {
		t.Errorf("the credential that anybody can open has %q", got)
	}
	h.install(cli.Done, ifPossible, image) // now there is one
	h.noValue(image)
}

// TestSeal_elsewhere seals with the public key alone, as for an image that is built on another
// machine.
func TestSeal_elsewhere(t *testing.T) {
	t.Parallel()
	h := newSealingHost(t)
	key, _ := h.run(cli.Done, "enroll", "--format", "tpm2-srk", "--tpm", h.device)
	h.write("server01.tpm", key)
	manifest := h.manifest("m.json", "tpm2", `{"format": "tpm2-srk"}`)
	image := h.write("image", string(h.read("base")))
	before := h.commands()
	h.install(cli.Done, manifest, image, "--seal-for", h.path("server01.tpm"), "--tpm", h.path("no-tpm"))
	if n := h.commands() - before; n > 0 {
		t.Errorf("%d commands of a TPM", n)
	}
	h.noValue(image)
	if got := h.opened(image, "wg.private"); got != wgValue {
		t.Errorf("the TPM opens %q", got)
	}
}
