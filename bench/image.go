package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// imaging makes the cases in which three secrets are appended to an image, as while a boot loader
// is being installed. Images lie on the file system of dir, which should be a real one: they are
// synced.
type imaging struct {
	fixture  *fixture
	programs programs
	run      string // directory on a file system in memory
	dir      string
}

const appended = 3 // secrets

// sizes of images, by the name that is used in the names of cases.
var sizes = []struct {
	name  string
	bytes int64
}{{"60M", 60e6}, {"1G", 1e9}}

func (im *imaging) cases() []benchCase {
	var all []benchCase
	for _, size := range sizes {
		base := func() (string, error) { return im.fixture.initrd("initrd-"+size.name, size.bytes) }
		add := func(state, about string, tools func(*target) []tool) {
			name := "append-" + size.name + "-" + state
			about = fmt.Sprintf("%d secrets, initrd of %sB: %s", appended, size.name, about)
			all = append(all, benchCase{
				name: name, about: about, long: size.bytes >= 1e9,
				tools: func() ([]tool, error) {
					pristine, err := base()
					if err != nil {
						return nil, err
					}
					t, err := im.target(name, pristine)
					if err != nil {
						return nil, err
					}
					return tools(t), nil
				},
			})
		}
		add("new", "the image does not exist yet", (*target).newFile)
		add("first", "the image is a fresh copy of the initrd", (*target).first)
		add("unchanged", "the image has these secrets", (*target).unchanged)
		add("changed", "the image has other secrets", (*target).changed)
	}
	return all
}

// target is an image that several tools append to, each to its own copy.
type target struct {
	base             string // pristine initrd
	dir              string
	programs         programs
	manifest, other  string // of the secrets that are wanted, and of others
	sources          []string
	appender, onCopy string // scripts
	state            string
}

func (im *imaging) target(name, base string) (*target, error) {
	t := &target{base: base, dir: filepath.Join(im.dir, name), programs: im.programs}
	plain := filepath.Join(im.run, name)
	for _, dir := range []string{t.dir, plain} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	t.state = filepath.Join(t.dir, "state")
	var err error
	if t.manifest, err = im.manifest(plain, "manifest.json", 0); err != nil {
		return nil, err
	}
	if t.other, err = im.manifest(plain, "other.json", appended); err != nil {
		return nil, err
	}
	for i := range appended {
		source := filepath.Join(plain, secretKey(i))
		if err := os.WriteFile(source, []byte(value(i)), 0o400); err != nil &&
			!errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		t.sources = append(t.sources, destination(i)+"="+source)
	}
	if t.appender, err = writeScript(plain, "appender.bash"); err != nil {
		return nil, err
	}
	t.onCopy, err = writeScript(plain, "replace.bash")
	return t, err
}

func destination(i int) string { return "/etc/" + secretKey(i) }

// manifest writes a manifest of secrets from a sops file with all that the cases need, beginning
// with the i-th.
func (im *imaging) manifest(dir, name string, i int) (string, error) {
	r, err := im.fixture.age()
	if err != nil {
		return "", err
	}
	files, err := im.fixture.yamlFiles(1, 2*appended, r)
	if err != nil {
		return "", err
	}
	key, err := im.fixture.key(ed25519Key)
	if err != nil {
		return "", err
	}
	type object map[string]any
	var secrets, entries []object
	for j := range appended {
		secrets = append(secrets, object{
			"name": secretKey(j), "key": secretKey(i + j),
			"sopsFile": files[0], "format": "yaml",
		})
		entries = append(entries, object{"path": destination(j), "secret": secretKey(j)})
	}
	data, err := json.Marshal(object{
		"version": 1, "ageSshKeyPaths": []string{key}, "secrets": secrets,
		"entries": entries,
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, data, 0o600)
}

// image is the image that belongs to a tool, in a directory of its own.
func (t *target) image(i int) string { return filepath.Join(t.dir, fmt.Sprint(i), "initrd") }

func (t *target) appendCommand(program, manifest, image string) command {
	return command{argv: []string{
		program, "append", "--manifest", manifest, "--base", t.base,
		"--state", t.state, image,
	}}
}

// ours are the slim and the full program; prepare makes the image that they find.
func (t *target) ours(prepare func(program, image string) error) []tool {
	var tools []tool
	for i, in := range []installer{{rowSlim, t.programs.slim}, {rowFull, t.programs.full}} {
		program, image := filepath.Join(in.program, "sops-initrd"), t.image(i)
		tools = append(tools, tool{
			name: in.row, command: t.appendCommand(program, t.manifest, image),
			reset: func() error { return prepare(program, image) },
			check: func() error {
				_, err := command{argv: []string{program, "verify", "--manifest", t.manifest, image}}.run(
					defaultLimit)
				return err
			},
		})
	}
	return tools
}

// shell is a script that appends to an image, which prepare makes as a copy of from.
func (t *target) shell(i int, row, script, from string, prepare func(image string) error) tool {
	image := t.image(i)
	return tool{
		name: row, command: command{argv: append([]string{script, image}, t.sources...)},
		reset: func() error { return prepare(image) },
		check: func() error { return grew(image, from) },
	}
}

// grew is the check of what nothing can verify: the image is larger than the file it was a copy of;
// that may be none.
func grew(image, from string) error {
	info, err := os.Stat(image)
	if err != nil {
		return err
	}
	var size int64
	if old, err := os.Stat(from); err == nil {
		size = old.Size()
	}
	if info.Size() <= size {
		return fmt.Errorf("%s: nothing was appended", image)
	}
	return nil
}

func (t *target) newFile() []tool {
	remove := func(image string) error {
		if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
			return err
		}
		if err := os.Remove(image); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return append(t.ours(func(_, image string) error { return remove(image) }),
		t.shell(2, rowAppender, t.appender, "", remove))
}

func (t *target) first() []tool {
	return append(t.ours(func(_, image string) error { return copyFile(t.base, image) }),
		t.shells()...)
}

func (t *target) unchanged() []tool {
	// The first run leaves the image as it is found by all others.
	return append(t.ours(func(program, image string) error {
		if _, err := os.Stat(image); err == nil {
			return nil
		}
		if err := copyFile(t.base, image); err != nil {
			return err
		}
		_, err := t.appendCommand(program, t.manifest, image).run(defaultLimit)
		return err
	}), t.shells()...)
}

func (t *target) changed() []tool {
	return append(t.ours(func(program, image string) error {
		if _, err := os.Stat(image); err != nil {
			if err := copyFile(t.base, image); err != nil {
				return err
			}
		}
		_, err := t.appendCommand(program, t.other, image).run(defaultLimit)
		return err
	}), t.shells()...)
}

// shells append to a copy of the initrd: in place, which a crash can tear, and on a second copy, as
// safe as ours.
func (t *target) shells() []tool {
	prepare := func(image string) error { return copyFile(t.base, image) }
	return []tool{
		t.shell(2, rowAppender, t.appender, t.base, prepare),
		t.shell(3, rowReplace, t.onCopy, t.base, prepare),
	}
}

// copyFile copies a file, and its bytes to the disk: what the system still has to write would be
// charged to the next run.
func copyFile(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Sync()
}

// plural is "1 secret" or "5 secrets".
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strings.Join([]string{fmt.Sprint(n), noun}, " ")
}
