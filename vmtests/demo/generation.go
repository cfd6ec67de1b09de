package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The accounts of the real root, and what belongs to whom there.
const (
	appUID, appGID = 1000, 1000
	placeholder    = "<SOPS:demo:PLACEHOLDER>"
)

// generation is one system generation: values that exist in this program's memory only, and their
// sops files, manifests and hook in the store.
type generation struct {
	number   int
	dir      string // on this machine: store/NUMBER; in the guest: /nix/NUMBER
	luksKey  []byte
	sshKey   []byte
	password string
	image    string // on the ESP, once the boot loader is installed
}

func (g *generation) template() string {
	return "[login]\nuser = app\npassword = " + placeholder + "\n"
}

func (g *generation) rendered() string {
	return strings.ReplaceAll(g.template(), placeholder, g.password)
}

// newGeneration makes values, encrypts them with the sops program for the host's key, and writes
// what NixOS's build would.
func (d *demo) newGeneration(ctx context.Context, number int) (*generation, error) {
	recipient, err := d.hostKey(ctx)
	if err != nil {
		return nil, err
	}
	g := &generation{
		number: number, dir: filepath.Join(d.dir, "store", fmt.Sprint(number)),
		luksKey: make([]byte, 4096),
	}
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := rand.Read(g.luksKey); err != nil {
		return nil, err
	}
	copy(g.luksKey[100:], "\n\x00\n") // what a careless tool would stop at
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "initrd")
	if err != nil {
		return nil, err
	}
	g.sshKey = pem.EncodeToMemory(block)
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	g.password = hex.EncodeToString(random)

	text, err := json.Marshal(map[string]any{
		"ssh":      map[string]string{"host-key": string(g.sshKey)},
		"password": g.password,
	})
	if err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name, input, output string
		plain               []byte
	}{{"secrets.yaml", "json", "yaml", text}, {"luks.key", "binary", "json", g.luksKey}} {
		encrypted, err := d.command(ctx, file.plain, d.program("sops"), "encrypt", "--age", recipient,
			"--input-type", file.input, "--output-type", file.output, "--filename-override", file.name,
			"/dev/stdin")
		if err != nil {
			return nil, err
		}
		path := filepath.Join(g.dir, file.name)
		if err := os.WriteFile(path, encrypted, 0o644); err != nil {
			return nil, err
		}
		d.itemf("store/%d/%-13s %5d bytes, encrypted by sops for the host's key", number, file.name,
			len(encrypted))
	}
	return g, g.writeManifests(d)
}

// hostKey makes the machine's SSH host key unless it is there, and returns the age recipient that
// belongs to it.
func (d *demo) hostKey(ctx context.Context) (string, error) {
	file := filepath.Join(d.dir, "host", "ssh_host_ed25519_key")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if _, err := d.command(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo",
			"-f", file); err != nil {
			return "", err
		}
	}
	recipient, err := d.command(ctx, nil, d.program("ssh-to-age"), "-i", file+".pub")
	if err == nil {
		d.itemf("host/%s, as age recipient %s", filepath.Base(file), bytes.TrimSpace(recipient))
	}
	return string(bytes.TrimSpace(recipient)), err
}

// writeManifests writes the two manifests that the NixOS module would, and the hook that goes with
// one of them.
func (g *generation) writeManifests(d *demo) error {
	guest := fmt.Sprintf("/nix/%d/", g.number)
	secret := func(dir, name, key, file, format string) map[string]any {
		return map[string]any{"name": name, "key": key, "sopsFile": dir + file, "format": format}
	}
	place := func(m map[string]any, path, mode, owner, group string) map[string]any {
		m["path"], m["mode"], m["owner"], m["group"] = path, mode, owner, group
		m["uid"], m["gid"], m["restartUnits"], m["reloadUnits"] = 0, 0, []string{}, []string{}
		return m
	}
	here := g.dir + "/"
	initrd := map[string]any{
		"version": 1, "prefix": "/.initrd-secrets",
		"ageSshKeyPaths": []string{filepath.Join(d.dir, "host", "ssh_host_ed25519_key")},
		"secrets": []any{
			secret(here, "luks", "", "luks.key", "binary"),
			secret(here, "ssh", "ssh/host-key", "secrets.yaml", "yaml"),
		},
		"entries": []any{
			map[string]any{"path": "/etc/luks.key", "secret": "luks", "mode": "0400"},
			map[string]any{"path": "/run/secrets/ssh", "secret": "ssh", "mode": "0600"},
		},
	}
	activation := map[string]any{
		"version": 1, "secretsMountPoint": "/run/secrets.d", "symlinkPath": "/run/secrets",
		"keepGenerations": 1,
		"ageSshKeyPaths":  []string{"/etc/ssh/ssh_host_ed25519_key"},
		"secrets": []any{
			place(secret(guest, "ssh", "ssh/host-key", "secrets.yaml", "yaml"), "/run/secrets/ssh", "0400",
				"root", "root"),
			place(secret(guest, "password", "password", "secrets.yaml", "yaml"), "/etc/app/password", "0440",
				"app", "app"),
		},
		"templates": []any{
			place(map[string]any{"name": "app.ini", "content": g.template()},
				"/run/secrets/rendered/app.ini", "0400", "app", "root"),
		},
		"placeholderBySecretName": map[string]string{
			"password": placeholder,
			"ssh":      "<SOPS:demo-ssh:PLACEHOLDER>",
		},
		"logging": map[string]any{"keyImport": false, "secretChanges": false},
	}
	for name, manifest := range map[string]any{
		"manifest-initrd.json": initrd,
		"manifest.json":        activation,
	} {
		data, err := json.MarshalIndent(manifest, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(g.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	hook := fmt.Sprintf("#!/bin/sh\nexec %s append --manifest %smanifest-initrd.json --base %s "+
		"--state %s \"$1\"\n",
		d.program("sops-initrd"), here, d.base, filepath.Join(d.dir, "host", "state"))
	if err := os.WriteFile(filepath.Join(g.dir, "append-initrd-secrets"), []byte(hook),
		0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, "init"), []byte(realInit(guest)), 0o755)
}

// command runs a program with input on its standard input and returns its standard output; what it
// says on standard error is part of the error.
func (d *demo) command(ctx context.Context, input []byte, name string, args ...string) ([]byte,
	error,
) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(input)
	return vm.Output(cmd)
}
