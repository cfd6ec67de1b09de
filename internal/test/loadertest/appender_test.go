package loadertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// hostFile begins the paths of secrets that are not in a sops file but a file of the host, as other
// modules have them.
const hostFile = "/etc/host"

// Ours is the hook of this project, with what its NixOS module does around it.
type Ours struct {
	Program string // sops-initrd
	Sops    string // the sops program, to make secrets with

	identities map[string]*age.X25519Identity // by generation
	lost       map[string]bool
}

// NewOurs is the hook with these programs.
func NewOurs(program, sops string) *Ours {
	return &Ours{
		Program: program, Sops: sops, identities: map[string]*age.X25519Identity{},
		lost: map[string]bool{},
	}
}

// Name names the appender in the table.
func (*Ours) Name() string { return "sops-initrd" }

// SaltsInitrd is what sops.initrd.separateImages does: for the builder that shares images only.
func (*Ours) SaltsInitrd(l Loader) bool {
	_, shares := l.(SystemdBootOld)
	return shares
}

// Prepare writes a sops file that the host can decrypt, a manifest, and the wrapper that the NixOS
// module makes.
func (o *Ours) Prepare(w *World, l Loader, g *Generation, program string) error {
	if o.identities[g.Name] == nil {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		o.identities[g.Name] = id
	}
	if err := o.writeKeys(w); err != nil {
		return err
	}
	dir := filepath.Dir(filepath.Dir(program))
	sopsFile := filepath.Join(dir, "secrets.json")
	type object map[string]any
	values, secrets, entries := object{}, []object{}, []object{}
	for _, path := range sortedKeys(g.Secrets) {
		if strings.HasPrefix(path, hostFile) {
			entries = append(entries, object{"path": path, "source": o.source(w, g, path)})
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "-")
		values[name] = g.Secrets[path]
		secrets = append(secrets, object{
			"name": name, "key": name, "sopsFile": sopsFile,
			"format": "json",
		})
		entries = append(entries, object{"path": path, "secret": name})
	}
	if err := o.encrypt(values, sopsFile, o.identities[g.Name].Recipient().String()); err != nil {
		return err
	}
	manifest, err := json.Marshal(object{
		"version": 1, "ageKeyFile": o.keyFile(w), "secrets": secrets,
		"entries": entries,
	})
	if err != nil {
		return err
	}
	manifestFile := filepath.Join(dir, "manifest.json")
	flags := ""
	if limine, ok := l.(Limine); ok {
		flags = " --enclose --installed " + limine.Kernels(w)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s append --manifest %s --base %s --state %s%s -- \"$1\"\n",
		o.Program, manifestFile, g.Initrd, o.State(w), flags)
	return errors.Join(
		os.WriteFile(manifestFile, manifest, 0o600), os.WriteFile(program, []byte(script), 0o755),
		o.Rotate(w, g, g.Secrets),
	)
}

// State is where the hook keeps its records.
func (*Ours) State(w *World) string { return filepath.Join(w.Dir, "state") }

func (*Ours) keyFile(w *World) string { return filepath.Join(w.Dir, "key.txt") }

func (*Ours) source(w *World, g *Generation, path string) string {
	return filepath.Join(w.Dir, "host", g.Name, filepath.Base(path))
}

// writeKeys writes what is left of the host's keys.
func (o *Ours) writeKeys(w *World) error {
	var keys strings.Builder
	for _, name := range sortedKeys(o.identities) {
		if !o.lost[name] {
			fmt.Fprintln(&keys, o.identities[name])
		}
	}
	return os.WriteFile(o.keyFile(w), []byte(keys.String()), 0o600)
}

func (o *Ours) encrypt(values any, to, recipient string) error {
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	cmd := exec.Command(o.Sops, "encrypt", "--input-type", "json", "--output-type", "json", "--age",
		recipient, "--filename-override", to)
	cmd.Stdin = bytes.NewReader(data)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/var/empty"}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("encrypt %s: %w", to, err)
	}
	return os.WriteFile(to, out, 0o600)
}

// Rotate changes the files of the host that a generation's secrets come from.
func (o *Ours) Rotate(w *World, g *Generation, secrets map[string]string) error {
	for path, value := range secrets {
		if !strings.HasPrefix(path, hostFile) {
			continue
		}
		if err := writeBelow(o.source(w, g, path), value); err != nil {
			return err
		}
		g.Secrets[path] = value
	}
	return nil
}

// Lose takes the generation's key from the host.
func (o *Ours) Lose(w *World, g *Generation) error {
	o.lost[g.Name] = true
	return o.writeKeys(w)
}

// AroundInstaller runs limine's installer in install-loader, as the module does. The installer is a
// function here, so it runs before, and a program that does nothing in its place.
func (o *Ours) AroundInstaller(w *World, l Loader, install func() error) error {
	if _, ok := l.(Limine); !ok {
		return install()
	}
	const reached = 42
	around := func(program ...string) error {
		args := append([]string{
			"install-loader", "--loader", "limine", "--boot", w.Boot, "--state",
			o.State(w), "--",
		}, program...)
		cmd := exec.Command(o.Program, append(args, w.Default.Toplevel)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + w.Temp}
		out, err := cmd.CombinedOutput()
		w.Log.Write(out)
		return err
	}
	var exit *exec.ExitError
	if err := around("sh", "-c", fmt.Sprintf("exit %d", reached)); !errors.As(err, &exit) ||
		exit.ExitCode() != reached {
		return installError{"install-loader did not run the installer"}
	}
	if err := install(); err != nil {
		return err
	}
	if err := around("true"); err != nil {
		return installError{"install-loader found secrets missing"}
	}
	return nil
}

// Program is any appender, as PROGRAM DIRECTORY IMAGE: it puts the files below DIRECTORY below
// /.initrd-secrets of IMAGE.
type Program struct{ Path string }

// Name names the appender in the table.
func (p Program) Name() string { return filepath.Base(p.Path) }

// SaltsInitrd is false.
func (Program) SaltsInitrd(Loader) bool { return false }

// AroundInstaller is the installer alone.
func (Program) AroundInstaller(_ *World, _ Loader, install func() error) error { return install() }

func (Program) files(w *World, g *Generation) string { return filepath.Join(w.Dir, "host", g.Name) }

// Prepare writes the files, and a script that gives them to the program.
func (p Program) Prepare(w *World, _ Loader, g *Generation, program string) error {
	script := fmt.Sprintf("#!/bin/sh\nexec %q %q \"$1\"\n", p.Path, p.files(w, g))
	return errors.Join(os.WriteFile(program, []byte(script), 0o755), p.Rotate(w, g, g.Secrets))
}

// Rotate changes the files of the host that a generation's secrets come from.
func (p Program) Rotate(w *World, g *Generation, secrets map[string]string) error {
	for path, value := range secrets {
		if err := writeBelow(filepath.Join(p.files(w, g), path), value); err != nil {
			return err
		}
		g.Secrets[path] = value
	}
	return nil
}

// Lose removes the generation's files from the host.
func (p Program) Lose(w *World, g *Generation) error { return os.RemoveAll(p.files(w, g)) }

func writeBelow(name, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content),
		0o600))
}
