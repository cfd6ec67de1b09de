// Package eval tests what the NixOS module writes, as export.json has it, with the programs that
// read it.
package eval

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

const repository = "../../.."

type export struct {
	Shell    string            `json:"shell"`
	Programs map[string]string `json:"programs"`
	Base     string            `json:"base"`
	Hook     string            `json:"hook"`
	Files    map[string]struct {
		Text string `json:"text"`
	} `json:"files"`
	SopsFiles         map[string]string `json:"sopsFiles"`
	Manifest          string            `json:"manifest"`
	ManifestForUsers  string            `json:"manifestForUsers"`
	ManifestInitrd    string            `json:"manifestInitrd"`
	Activation        []string          `json:"activation"`
	PreDeviceCommands string            `json:"preDeviceCommands"`
}

func read(t *testing.T) export {
	t.Helper()
	data, err := os.ReadFile("export.json")
	if err != nil {
		t.Fatal(err)
	}
	var e export
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// text is a file of the store, with sops files where they are in this repository.
func (e export) text(t *testing.T, path string) string {
	t.Helper()
	text := e.Files[path].Text
	if text == "" {
		t.Fatalf("export.json has no file %s", path)
	}
	for stored, file := range e.SopsFiles {
		absolute, err := filepath.Abs(filepath.Join(repository, file))
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, stored, absolute)
	}
	return text
}

func TestManifests(t *testing.T) {
	t.Parallel()
	e := read(t)
	for path, names := range map[string][]string{
		e.Manifest:         {"initrd-ssh-key", "nested/test/file"},
		e.ManifestForUsers: {"test_key"},
	} {
		m, err := manifest.Parse([]byte(e.text(t, path)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var secrets []manifest.Source
		var got []string
		for _, s := range m.Secrets {
			secrets = append(secrets, s.Source)
			got = append(got, s.Name)
		}
		var templates []manifest.Text
		for _, s := range m.Templates {
			templates = append(templates, s.Text)
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("%s: secrets (-want +got):\n%s", path, diff)
		}
		check(t, resolve.Request{Secrets: secrets, Templates: templates, Placeholders: m.Placeholders})
	}

	m, err := manifest.ParseInitrd([]byte(e.text(t, e.ManifestInitrd)))
	if err != nil {
		t.Fatal(err)
	}
	check(t, resolve.Request{Secrets: m.Secrets, Templates: m.Templates, Placeholders: m.Placeholders})
	var paths []string
	for _, entry := range m.Entries {
		paths = append(paths, entry.ImagePath())
	}
	want := []string{
		"/.initrd-secrets/etc/iscsi/chap", "/.initrd-secrets/etc/systemd/network/wg0.netdev",
		"/.initrd-secrets/run/secrets/initrd-ssh-key", "/.initrd-secrets/run/secrets/luks",
		"/.initrd-secrets/run/wireguard/key",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func check(t *testing.T, req resolve.Request) {
	t.Helper()
	if err := resolve.Check(req, resolve.CheckSopsFile); err != nil {
		t.Error(err)
	}
}

// TestHook runs the hook with a program that says how it was called, as boot loaders call it.
func TestHook(t *testing.T) {
	t.Parallel()
	e := read(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "sops-initrd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '%s|' \"$@\"\nprintf '%s|' \"$HOME\" \"$PATH\"\nexit 7\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(e.Shell, bash, e.Programs["sops-initrd"], program).Replace(e.text(t, e.Hook))
	hook := filepath.Join(dir, "append-initrd-secrets")
	if err := os.WriteFile(hook, []byte(text), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	called := func(image string) string {
		return strings.Join([]string{
			"append", "--manifest", e.ManifestInitrd, "--base", e.Base, "--state", "/var/lib/sops-initrd", "--", image, "/var/empty", "", "",
		}, "|")
	}
	usage := "usage: append-initrd-secrets IMAGE\nInstalls the secrets of this configuration in the initrd IMAGE.\n"
	for name, c := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"an image":                  {[]string{"/boot/initrd"}, 7, called("/boot/initrd"), ""},
		"an image with blanks":      {[]string{"/boot/an initrd"}, 7, called("/boot/an initrd"), ""},
		"an image like an option":   {[]string{"--manifest"}, 7, called("--manifest"), ""},
		"nothing":                   {nil, 1, "", usage},
		"too much":                  {[]string{"a", "b"}, 1, "", usage},
		"a question for how to use": {[]string{"--help"}, 0, usage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			cmd := exec.Command(hook, c.args...)
			cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/root"}
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			status := 0
			var exit *exec.ExitError
			if err := cmd.Run(); errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if status != c.status || stdout.String() != c.stdout || stderr.String() != c.stderr {
				t.Errorf("exit status %d, want %d\nstdout %q\nwant   %q\nstderr %q\nwant   %q", status, c.status, stdout.String(), c.stdout, stderr.String(), c.stderr)
			}
		})
	}
}

// TestScripts has every shell that runs a script of ours read it.
func TestScripts(t *testing.T) {
	t.Parallel()
	e := read(t)
	scripts := map[string]string{"preDeviceCommands": e.PreDeviceCommands, "activation": strings.Join(e.Activation, "\n")}
	for path, file := range e.Files {
		if strings.HasPrefix(file.Text, "#!") {
			scripts[path] = file.Text
		}
	}
	if len(scripts) < 6 {
		t.Errorf("export.json has %d scripts only", len(scripts))
	}
	for name, text := range scripts {
		shells := [][]string{{"bash", "-n"}}
		if name == "preDeviceCommands" {
			shells = append(shells, []string{"busybox", "sh", "-n"})
		}
		for _, shell := range shells {
			if _, err := exec.LookPath(shell[0]); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Logf("not read by %s: %v", shell[0], err)
				continue
			}
			cmd := exec.Command(shell[0], shell[1:]...)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v: %s", name, shell[0], err, out)
			}
		}
	}
}

// TestReadme has the README show the example that is evaluated.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(repository, "docs/examples/ssh-unlock.nix"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```nix\n"+string(example)+"```\n") {
		t.Errorf("README.md does not have this, as it is:\n%s", example)
	}
	if lines := strings.Count(string(example), "\n"); lines > 12 {
		t.Errorf("the example has %d lines", lines)
	}
}
