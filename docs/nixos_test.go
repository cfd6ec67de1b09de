package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// evaluated is what stage/evaluate.nix says of a configuration.
type evaluated struct {
	Faults      []string  `json:"faults"`
	Warnings    []string  `json:"warnings"`
	Hook        string    `json:"hook"`
	Manifest    string    `json:"manifest"`  // of the initrd
	Installed   bool      `json:"installed"` // sops-initrd, for people
	Activation  []string  `json:"activation"`
	Base        string    `json:"base"`
	Files       []file    `json:"files"`
	Users       []account `json:"users"`
	SSHPort     int       `json:"sshPort"`
	SSHKeys     []string  `json:"sshKeys"`
	SSHHostKeys []string  `json:"sshHostKeys"`
}

type file struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

type account struct{ Name, Group string }

// generation is a configuration as it is on the host.
type generation struct {
	evaluated
	// Sources are the sops files of the configuration, by their names; they are in the store.
	Sources map[string][]byte
}

const generationsDir = stageDir + "/state/generations"

// load reads a generation of the host; 0 is the newest one.
func (g *generation) load(root string, number int) error {
	if number == 0 {
		numbers, err := generations(root)
		if err != nil {
			return err
		}
		if len(numbers) == 0 {
			return errors.New("there is no generation")
		}
		number = numbers[len(numbers)-1]
	}
	data, err := os.ReadFile(filepath.Join(root, generationsDir, fmt.Sprint(number)))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, g)
}

func generations(root string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(root, generationsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var numbers []int
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscan(e.Name(), &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// image is where the builder of systemd-boot puts the initrd: a name made from the initrd and the
// program that adds secrets.
func (g *generation) image() string {
	sum := sha256.Sum256([]byte(g.Base + g.Hook))
	return "/boot/EFI/nixos/" + hex.EncodeToString(sum[:4]) + "-initrd.efi"
}

// storeFile is a file in the store: 32 characters of digest and a name.
var storeFile = regexp.MustCompile(`/nix/store/([0-9a-z]{32})-([A-Za-z0-9._+-]+)`)

// evaluate evaluates the configuration in a directory of this machine.
func evaluate(directory, host string) (*generation, error) {
	data, err := evaluation(directory, "--argstr", "directory", directory, "--argstr", "host", host)
	if err != nil {
		return nil, fmt.Errorf("evaluate %s:\n%w", directory, err)
	}
	g := &generation{Sources: map[string][]byte{}}
	if err := json.Unmarshal(data, &g.evaluated); err != nil {
		return nil, err
	}
	// The files that the manifests name are found by their names.
	return g, filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".git" {
				return fs.SkipDir
			}
			return err
		}
		for _, m := range storeFile.FindAllStringSubmatch(string(data), -1) {
			if m[2] == d.Name() {
				if g.Sources[m[0]], err = os.ReadFile(path); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// evaluationsDir has, on the stage, what was evaluated, and, in the repository, what was evaluated
// when the pages were last changed: it stands in where there is no nixpkgs to evaluate with.
const evaluationsDir = stageDir + "/state/evaluated"

// failure is an evaluation that failed.
type failure struct {
	Error string `json:"error"`
}

// evaluation evaluates a configuration, or finds what it was where there is no nixpkgs. What is
// kept is named by a digest of the Nix files and of the names of the others.
func evaluation(directory string, args ...string) ([]byte, error) {
	short, all, err := digests(directory)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(evaluationsDir, short+".json")
	if err := os.MkdirAll(evaluationsDir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(stageDir + "/nixpkgs-lib"); err != nil {
		data, err := os.ReadFile(stageDir + "/repo/docs/stage/evaluated/" + short + ".json")
		if err != nil {
			return nil, fmt.Errorf("a configuration that was not evaluated yet: %w", err)
		}
		var failed failure
		if err := json.Unmarshal(data, &failed); err == nil && failed.Error != "" {
			return nil, errors.Join(errors.New(failed.Error), os.WriteFile(name, data, 0o644))
		}
		return expand(data, all), os.WriteFile(name, data, 0o644)
	}
	cmd := exec.Command("/usr/bin/nix-instantiate", append([]string{
		"--eval", "--strict", "--json", stageDir + "/repo/docs/stage/evaluate.nix",
		"--argstr", "libPath", stageDir + "/nixpkgs-lib", "--argstr", "repo", stageDir + "/repo",
	}, args...)...)
	cmd.Env = append(os.Environ(), "NIX_CONFIG=build-users-group =\nstore = dummy://")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	data, err := cmd.Output()
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		data, err = json.Marshal(failure{text})
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(errors.New(text), os.WriteFile(name, shorten(data), 0o644))
	}
	return expand(shorten(data), all), os.WriteFile(name, shorten(data), 0o644)
}

// digests are one of the Nix files and of the names of all others in a directory, and one of
// everything in it.
func digests(directory string) (short, all string, err error) {
	nix, everything := sha256.New(), sha256.New()
	err = filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".git" {
				return fs.SkipDir
			}
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(everything, "%s\x00%s\x00", path, data)
		if filepath.Ext(path) != ".nix" {
			data = nil
		}
		fmt.Fprintf(nix, "%s\x00%s\x00", path, data)
		return err
	})
	return hex.EncodeToString(nix.Sum(nil)[:6]), hex.EncodeToString(everything.Sum(nil)), err
}

// shorten replaces the digests of store paths, which depend on the keys that a run makes, by their
// numbers, and indents.
func shorten(data []byte) []byte {
	numbers := map[string]int{}
	short := storeFile.ReplaceAllStringFunc(string(data), func(path string) string {
		m := storeFile.FindStringSubmatch(path)
		if numbers[m[1]] == 0 {
			numbers[m[1]] = len(numbers) + 1
		}
		return fmt.Sprintf("/nix/store/@%d@-%s", numbers[m[1]], m[2])
	})
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(short), "", "  "); err != nil {
		return []byte(short)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// expand makes digests of numbers, others for every content of the directory.
func expand(data []byte, content string) []byte {
	return regexp.MustCompile(`/nix/store/@[0-9]+@-`).ReplaceAllFunc(data, func(path []byte) []byte {
		sum := sha256.Sum256(append(bytes.Clone(path), content...))
		return []byte("/nix/store/" + hex.EncodeToString(sum[:16]) + "-")
	})
}

// realize puts what the generation needs into the store of this machine.
func (g *generation) realize() error {
	put := func(path string, data []byte) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o555)
	}
	texts := append([]string{g.Hook}, g.Activation...)
	for path, data := range g.Sources {
		if err := put(path, data); err != nil {
			return err
		}
	}
	for _, f := range g.Files {
		texts = append(texts, f.Text)
		if err := put(f.Path, []byte(f.Text)); err != nil {
			return err
		}
	}
	base, err := baseImage()
	if err != nil {
		return err
	}
	if err := put(g.Base, base); err != nil {
		return err
	}
	// Programs are those of this machine, under the paths that the scripts name.
	program := regexp.MustCompile(storeFile.String() + `/bin/([A-Za-z0-9._-]+)`)
	for _, m := range program.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		if _, err := os.Lstat(m[0]); err == nil {
			continue
		}
		real, err := lookup(m[3])
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(m[0]), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(real, m[0]); err != nil {
			return err
		}
	}
	return nil
}

// baseImage is a small compressed initrd.
func baseImage() ([]byte, error) {
	var archive, image bytes.Buffer
	body := []byte("#!/bin/sh\n")
	w := cpio.NewWriter(&archive)
	if err := w.WriteHeader(&cpio.Header{Name: "init", Mode: cpio.TypeReg | 0o755, Links: 1, Size: int64(len(body))}); err != nil {
		return nil, err
	}
	_, err := w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	z := gzip.NewWriter(&image)
	_, err = z.Write(archive.Bytes())
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return image.Bytes(), nil
}

// switchTo makes the generation the newest one of this machine, as nixos-rebuild does: first the
// boot loader is installed for all generations, then, with switch, the new one is activated.
func (g *generation) switchTo(action string) error {
	for _, w := range g.Warnings {
		fmt.Fprintln(os.Stderr, "evaluation warning:", w)
	}
	if len(g.Faults) > 0 {
		return fmt.Errorf("error:\nFailed assertions:\n- %s", strings.Join(g.Faults, "\n- "))
	}
	if err := g.realize(); err != nil {
		return err
	}
	numbers, err := generations("")
	if err != nil {
		return err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(generationsDir, 0o755); err != nil {
		return err
	}
	name := func(n int) string { return filepath.Join(generationsDir, fmt.Sprint(n)) }
	if newest, err := os.ReadFile(name(next - 1)); err != nil || !bytes.Equal(newest, data) {
		if err := os.WriteFile(name(next), data, 0o644); err != nil {
			return err
		}
		numbers = append(numbers, next)
	}
	if err := installLoader(numbers); err != nil || action == "boot" {
		return err
	}
	return g.activate()
}

// installLoader does what the builder of systemd-boot of NixOS 26.11 does with files: images and
// entries of all generations, the last of which is the default; then those of no generation go.
func installLoader(numbers []int) error {
	const entries = "/boot/loader/entries/"
	keep := map[string]bool{}
	if err := os.MkdirAll(entries, 0o755); err != nil {
		return err
	}
	for i, n := range numbers {
		var g generation
		if err := g.load("", n); err != nil {
			return err
		}
		system, err := g.toplevel()
		if err != nil {
			return err
		}
		if err := g.installInitrd(); err != nil && i == len(numbers)-1 {
			return fmt.Errorf("failed to create initrd secrets: %w\nFailed to install bootloader", err)
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "warning: generation %d: %v\n", n, err)
		}
		entry := fmt.Sprintf("%snixos-generation-%d.conf", entries, n)
		text := fmt.Sprintf("title NixOS\nversion Generation %d\nlinux /EFI/nixos/kernel.efi\ninitrd %s\noptions init=%s/init\n",
			n, strings.TrimPrefix(g.image(), "/boot"), system)
		if err := os.WriteFile(entry, []byte(text), 0o600); err != nil {
			return err
		}
		keep[entry], keep[g.image()] = true, true
	}
	files, err := filepath.Glob("/boot/EFI/nixos/*")
	more, _ := filepath.Glob(entries + "*")
	for _, name := range append(files, more...) {
		if !keep[name] {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// toplevel is the generation's system in the store.
func (g *generation) toplevel() (string, error) {
	sum := sha256.Sum256([]byte(g.image()))
	system := "/nix/store/" + hex.EncodeToString(sum[:16]) + "-nixos-system-server01"
	err := os.MkdirAll(system, 0o755)
	links := map[string]string{system + "/initrd": g.Base}
	if g.Hook != "" {
		links[system+"/append-initrd-secrets"] = g.Hook
		links[filepath.Dir(filepath.Dir(g.Hook))+"/manifest.json"] = g.Manifest
	}
	for link, to := range links {
		if e := os.Symlink(to, link); e != nil && !errors.Is(e, fs.ErrExist) {
			err = errors.Join(err, e)
		}
	}
	return system, err
}

// collectGarbage deletes all generations but the newest.
func collectGarbage([]string) error {
	numbers, err := generations("")
	for _, n := range numbers[:max(len(numbers)-1, 0)] {
		err = errors.Join(err, os.Remove(filepath.Join(generationsDir, fmt.Sprint(n))))
	}
	return err
}

// installInitrd adds the secrets to a copy of the initrd beside its final place, which is then
// replaced.
func (g *generation) installInitrd() error {
	base, err := os.ReadFile(g.Base)
	if err != nil {
		return err
	}
	image := g.image()
	pending := image + "12345678.tmp"
	if err := os.WriteFile(pending, base, 0o600); err != nil {
		return err
	}
	defer os.Remove(pending)
	if g.Hook != "" {
		cmd := exec.Command(g.Hook, pending)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return os.Rename(pending, image)
}

// activate runs the activation scripts.
func (g *generation) activate() error {
	for _, u := range g.Users {
		if err := addAccount(u); err != nil {
			return err
		}
	}
	cmd := exec.Command("bash", "-euc", strings.Join(g.Activation, "\n"))
	cmd.Env = append(os.Environ(), "NIXOS_ACTION=switch")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := os.MkdirAll("/run/nixos", 0o755); err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	tool := systemDir + "/sops-initrd"
	err := errors.Join(os.RemoveAll(systemDir), os.MkdirAll(systemDir, 0o755))
	if g.Installed {
		err = errors.Join(err, os.Symlink(stageDir+"/bin/sops-initrd", tool))
	}
	if err != nil {
		return err
	}
	for _, verb := range []string{"restart", "reload"} {
		list := "/run/nixos/activation-" + verb + "-list"
		units, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		fmt.Fprintf(os.Stdout, "%sing the following units: %s\n", verb, strings.Join(strings.Fields(string(units)), ", "))
		if err := os.Remove(list); err != nil {
			return err
		}
	}
	return nil
}

func addAccount(a account) error {
	for path, line := range map[string]string{
		"/etc/group":  fmt.Sprintf("%s:x:%%d:\n", a.Group),
		"/etc/passwd": fmt.Sprintf("%s:x:%%d:100::/var/empty:/bin/sh\n", a.Name),
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(line, ":")
		if name == "" || strings.HasPrefix(string(data), name+":") || strings.Contains(string(data), "\n"+name+":") {
			continue
		}
		id := 900 - strings.Count(string(data), "\n")
		if err := os.WriteFile(path, append(data, fmt.Sprintf(line, id)...), 0o644); err != nil {
			return err
		}
	}
	return nil
}
