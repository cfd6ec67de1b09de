package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// activation makes the cases in which secrets are installed as at the activation of a NixOS
// generation. It is the steady state that is measured: the secrets file system is mounted, and
// every run makes a new generation that replaces the last one.
type activation struct {
	fixture  *fixture
	programs programs
	run      string // directory on a file system in memory, for what is installed
}

// wanted is a secret of a case.
type wanted struct {
	name, key, file, format string
	value                   []byte
}

// keySources of a manifest.
type keySources struct {
	AgeSSHKeyPaths []string `json:"ageSshKeyPaths"`
	SSHKeyPaths    []string `json:"sshKeyPaths"`
}

// work is what a case installs.
type work struct {
	secrets   []wanted
	keys      keySources
	templates int // how many secrets one template uses; 0 for no template
}

func (a *activation) cases() []benchCase {
	return []benchCase{
		a.startUp(),
		a.oneFile("age-1", 1),
		a.oneFile("age-200", 200),
		a.oneFile("age-1000", 1000),
		a.oneFile("age-5000", 5000),
		a.manyFiles("files-100", "100 files with one secret each, age", 100, false),
		a.manyFiles("files-1000", "1000 files with one secret each, age", 1000, false),
		a.manyFiles("pgp-1", "1 file for an SSH RSA key of 4096 bits (PGP)", 1, true),
		a.manyFiles("pgp-20", "20 files for an SSH RSA key of 4096 bits (PGP)", 20, true),
		a.template("template-200", 200),
		a.binary("binary-10M", 10<<20),
	}
}

// startUp prints the help, which does nothing.
func (a *activation) startUp() benchCase {
	return benchCase{name: "start-up", about: "print the usage text", tools: func() ([]tool, error) {
		var tools []tool
		for _, in := range a.programs.installers() {
			tools = append(tools, tool{name: in.row, command: command{argv: []string{in.program, "-help"}}})
		}
		return append(tools,
			tool{name: rowSOPS, command: command{argv: []string{a.fixture.sops(), "--help"}}}), nil
	}}
}

func (a *activation) oneFile(name string, n int) benchCase {
	about := fmt.Sprintf("%s from one file, age", plural(n, "secret"))
	if n > mostLooped {
		about += "; slower tools, which would take many minutes, are left out"
	}
	return benchCase{name: name, about: about, long: n == mostLooped, tools: func() ([]tool, error) {
		w, err := a.ageWork(n)
		if err != nil {
			return nil, err
		}
		keyFile, err := a.fixture.ageKeyFile()
		if err != nil {
			return nil, err
		}
		if n > mostLooped {
			return a.toolsOf(a.programs.own(), name, w)
		}
		return a.tools(name, w, []string{"SOPS_AGE_KEY_FILE=" + keyFile})
	}}
}

// mostLooped is the largest number of secrets for tools that take a minute for them: the time of a
// loop over sops is proportional, that of the reference implementation grows with the square.
const mostLooped = 1000

// ageWork is n secrets of one file.
func (a *activation) ageWork(n int) (work, error) {
	r, err := a.fixture.age()
	if err != nil {
		return work{}, err
	}
	files, err := a.fixture.yamlFiles(1, n, r)
	if err != nil {
		return work{}, err
	}
	key, err := a.fixture.key(ed25519Key)
	if err != nil {
		return work{}, err
	}
	w := work{keys: keySources{AgeSSHKeyPaths: []string{key}}}
	for i := range n {
		w.secrets = append(w.secrets, wanted{
			secretKey(i), secretKey(i), files[0], "yaml",
			[]byte(value(i)),
		})
	}
	return w, nil
}

func (a *activation) manyFiles(name, about string, n int, pgp bool) benchCase {
	return benchCase{name: name, about: about, long: n == mostLooped, tools: func() ([]tool, error) {
		var r recipient
		var w work
		var key, keyFile, home string
		var err error
		if pgp {
			key, err = a.fixture.key(rsaKey)
			w.keys.SSHKeyPaths = []string{key}
		} else {
			key, err = a.fixture.key(ed25519Key)
			w.keys.AgeSSHKeyPaths = []string{key}
		}
		if err != nil {
			return nil, err
		}
		if r, err = a.recipient(pgp); err != nil {
			return nil, err
		}
		files, err := a.fixture.yamlFiles(n, 1, r)
		if err != nil {
			return nil, err
		}
		for i, file := range files {
			w.secrets = append(w.secrets, wanted{secretKey(i), secretKey(i), file, "yaml", []byte(value(i))})
		}
		if !pgp {
			if keyFile, err = a.fixture.ageKeyFile(); err != nil {
				return nil, err
			}
			return a.tools(name, w, []string{"SOPS_AGE_KEY_FILE=" + keyFile})
		}
		if home, err = a.fixture.gnupgHome(); err != nil {
			return nil, err
		}
		// strace waits for whatever a tool has started, so that the agent must be there before.
		if _, err = output(nil, nil, "gpgconf", "--homedir", home, "--launch", "gpg-agent"); err != nil {
			return nil, err
		}
		tools, err := a.tools(name, w, []string{"GNUPGHOME=" + home})
		if err != nil {
			return nil, err
		}
		gpg, err := a.gpg(name, files, home)
		return append(tools, gpg), err
	}}
}

func (a *activation) recipient(pgp bool) (recipient, error) {
	if pgp {
		return a.fixture.pgp()
	}
	return a.fixture.age()
}

func (a *activation) template(name string, n int) benchCase {
	about := fmt.Sprintf("%s from one file and a template with all of them, age", plural(n, "secret"))
	return benchCase{name: name, about: about, tools: func() ([]tool, error) {
		w, err := a.ageWork(n)
		if err != nil {
			return nil, err
		}
		w.templates = n
		return a.installerTools(name, w)
	}}
}

func (a *activation) binary(name string, size int64) benchCase {
	return benchCase{
		name: name, about: fmt.Sprintf("a binary file of %d MiB, age", size>>20),
		tools: func() ([]tool, error) {
			r, err := a.fixture.age()
			if err != nil {
				return nil, err
			}
			file, err := a.fixture.encrypt(name, "binary", noise(size), r)
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(noise(size))
			if err != nil {
				return nil, err
			}
			key, err := a.fixture.key(ed25519Key)
			if err != nil {
				return nil, err
			}
			keyFile, err := a.fixture.ageKeyFile()
			if err != nil {
				return nil, err
			}
			w := work{
				keys:    keySources{AgeSSHKeyPaths: []string{key}},
				secrets: []wanted{{"blob", "", file, "binary", data}},
			}
			return a.tools(name, w, []string{"SOPS_AGE_KEY_FILE=" + keyFile})
		},
	}
}

// tools are the installers and a loop over sops.
func (a *activation) tools(name string, w work, env []string) ([]tool, error) {
	tools, err := a.installerTools(name, w)
	if err != nil {
		return nil, err
	}
	loop, err := a.loop(name, w, env)
	return append(tools, loop), err
}

func (a *activation) installerTools(name string, w work) ([]tool, error) {
	return a.toolsOf(a.programs.installers(), name, w)
}

func (a *activation) toolsOf(installers []installer, name string, w work) ([]tool, error) {
	var tools []tool
	for i, in := range installers {
		base := filepath.Join(a.run, name, fmt.Sprint(i))
		manifest, err := a.manifest(base, w)
		if err != nil {
			return nil, err
		}
		secrets := filepath.Join(base, "secrets")
		tools = append(tools, tool{
			name: in.row, command: command{argv: []string{in.program, manifest}},
			check: func() error { return w.check(secrets) },
		})
	}
	return tools, nil
}

// manifest writes the manifest of a case that is installed below base, as the reference's module
// would.
func (a *activation) manifest(base string, w work) (string, error) {
	type placement struct {
		Name         string   `json:"name"`
		Path         string   `json:"path"`
		Mode         string   `json:"mode"`
		UID          int      `json:"uid"`
		GID          int      `json:"gid"`
		RestartUnits []string `json:"restartUnits"`
		ReloadUnits  []string `json:"reloadUnits"`
	}
	type secret struct {
		placement
		Key      string `json:"key"`
		SopsFile string `json:"sopsFile"`
		Format   string `json:"format"`
	}
	type template struct {
		placement
		Content string `json:"content"`
	}
	var m struct {
		Secrets           []secret          `json:"secrets"`
		Templates         []template        `json:"templates"`
		Placeholders      map[string]string `json:"placeholderBySecretName"`
		SecretsMountPoint string            `json:"secretsMountPoint"`
		SymlinkPath       string            `json:"symlinkPath"`
		KeepGenerations   int               `json:"keepGenerations"`
		keySources
		GnuPGHome  *string         `json:"gnupgHome"`
		AgeKeyFile *string         `json:"ageKeyFile"`
		Logging    map[string]bool `json:"logging"`
	}
	m.SecretsMountPoint, m.SymlinkPath = filepath.Join(base, "secrets.d"),
		filepath.Join(base, "secrets")
	m.KeepGenerations, m.keySources = 1, w.keys
	m.Logging = map[string]bool{"keyImport": false, "secretChanges": false}
	m.Placeholders = map[string]string{}
	place := func(name, path string) placement {
		return placement{
			Name: name, Path: path, Mode: "0400", RestartUnits: []string{},
			ReloadUnits: []string{},
		}
	}
	for _, s := range w.secrets {
		m.Secrets = append(m.Secrets, secret{
			place(s.name, filepath.Join(m.SymlinkPath, s.name)), s.key,
			s.file, s.format,
		})
	}
	if w.templates > 0 {
		for _, s := range w.secrets {
			m.Placeholders[s.name] = placeholder(s.name)
		}
		m.Templates = []template{
			{
				place(renderedName, filepath.Join(m.SymlinkPath, "rendered", renderedName)),
				w.text(placeholder),
			},
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(base, "manifest.json")
	return path, os.WriteFile(path, data, 0o600)
}

const renderedName = "config"

func placeholder(name string) string { return "<SOPS:" + name + ":PLACEHOLDER>" }

// text is the template of a case with what of gives for every secret's name.
func (w work) text(of func(name string) string) string {
	var text strings.Builder
	for _, s := range w.secrets[:w.templates] {
		fmt.Fprintf(&text, "%s = %q\n", s.name, of(s.name))
	}
	return text.String()
}

// check compares everything that is installed in a directory with what the case wants.
func (w work) check(dir string) error {
	values := make(map[string]string)
	for _, s := range w.secrets {
		got, err := os.ReadFile(filepath.Join(dir, s.name))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, s.value) {
			return fmt.Errorf("%s: wrong value", filepath.Join(dir, s.name))
		}
		values[s.name] = string(got)
	}
	if w.templates == 0 {
		return nil
	}
	got, err := os.ReadFile(filepath.Join(dir, "rendered", renderedName))
	if err == nil && string(got) != w.text(func(name string) string { return values[name] }) {
		err = errors.New("the template is not rendered right")
	}
	return err
}

// loop calls sops for every secret of a case.
func (a *activation) loop(name string, w work, env []string) (tool, error) {
	base := filepath.Join(a.run, name, "loop")
	secrets, list := filepath.Join(base, "secrets"), filepath.Join(base, "list")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return tool{}, err
	}
	var text strings.Builder
	for _, s := range w.secrets {
		extract := "-"
		if s.key != "" {
			extract = fmt.Sprintf("[%q]", s.key)
		}
		fmt.Fprintln(&text, s.name, extract, s.file)
	}
	if err := os.WriteFile(list, []byte(text.String()), 0o600); err != nil {
		return tool{}, err
	}
	script, err := writeScript(base, "loop.bash")
	return tool{
		name: rowLoop, command: command{[]string{script, a.fixture.sops(), secrets, list}, env},
		check: func() error { return w.check(secrets) },
	}, err
}

// gpg decrypts nothing but the data keys of PGP files: no way that uses gpg can be faster.
func (a *activation) gpg(name string, files []string, home string) (tool, error) {
	base := filepath.Join(a.run, name, "gpg")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return tool{}, err
	}
	var script strings.Builder
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return tool{}, err
		}
		const begin, end = "-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----"
		_, rest, found := strings.Cut(string(data), begin)
		body, _, foundEnd := strings.Cut(rest, end)
		if !found || !foundEnd {
			return tool{}, fmt.Errorf("%s: no PGP message in it", file)
		}
		lines := strings.Split(begin+body+end, "\n")
		for j := range lines {
			lines[j] = strings.TrimSpace(lines[j])
		}
		message := filepath.Join(base, fmt.Sprint(i))
		if err := os.WriteFile(message, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return tool{}, err
		}
		fmt.Fprintf(&script, "gpg --homedir %q --batch --quiet --decrypt %q >%q\n", home, message,
			message+".key")
	}
	path := filepath.Join(base, "gpg.bash")
	err := os.WriteFile(path, []byte("#!/usr/bin/env bash\nset -e\n"+script.String()), 0o700)
	return tool{name: rowGPG, command: command{argv: []string{path}}}, err
}
