package manifest

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reference is what the NixOS module of the reference writes: it dumps every option, known here
// or not.
const reference = `{
  "ageKeyFile": null, "ageSshKeyPaths": ["/etc/ssh/ssh_host_ed25519_key"], "gnupgHome": null, "keepGenerations": 1,
  "logging": {"keyImport": true, "secretChanges": true},
  "placeholderBySecretName": {"db/password": "<SOPS:00:PLACEHOLDER>", "of-users": "<SOPS:01:PLACEHOLDER>"},
  "secrets": [
    {"format": "yaml", "gid": 0, "group": "keys", "key": "db/password", "mode": "0440", "name": "db/password", "neededForUsers": false,
     "owner": "root", "path": "/run/secrets/db/password", "reloadUnits": ["b.service"], "restartUnits": ["a.service"],
     "sopsFile": "/nix/store/00-secrets.yaml", "sopsFileHash": "00", "uid": 0},
    {"format": "dotenv", "gid": 3, "group": null, "key": "env", "mode": "0400", "name": "env", "owner": null,
     "path": "/var/lib//x/env", "reloadUnits": [], "restartUnits": [], "sopsFile": "/nix/store/../store/01-x.env", "uid": 2},
    {"format": "binary", "key": "bin", "mode": "400", "name": "bin", "sopsFile": "/b", "path": ""}],
  "secretsMountPoint": "/run/secrets.d", "sshKeyPaths": [], "symlinkPath": "/run/secrets",
  "templates": [{"content": "a", "file": "/nix/store/02-t", "gid": null, "group": null, "mode": "4755", "name": "t", "owner": null,
     "path": "/run/secrets/rendered/t", "reloadUnits": [], "restartUnits": [], "uid": null}],
  "useTmpfs": true, "userMode": false }`

func TestParse_referenceManifest(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(reference))
	if err != nil {
		t.Fatal(err)
	}
	want := &Manifest{
		Keys: KeySources{SSHKeyPaths: []string{}, AgeSSHKeyPaths: []string{"/etc/ssh/ssh_host_ed25519_key"}},
		Secrets: []Secret{
			{
				Source{"db/password", "/nix/store/00-secrets.yaml", YAML, "db/password"},
				Placement{Path: "/run/secrets/db/password", Mode: 0o440, Owner: "root", Group: "keys", RestartUnits: []string{"a.service"}, ReloadUnits: []string{"b.service"}},
			},
			{
				Source{"env", "/nix/store/../store/01-x.env", Dotenv, ""}, // the whole file, whatever the key
				Placement{Path: "/var/lib/x/env", Mode: 0o400, UID: 2, GID: 3, RestartUnits: []string{}, ReloadUnits: []string{}},
			},
			{Source{"bin", "/b", Binary, ""}, Placement{Mode: 0o400}},
		},
		Templates: []Template{{
			Text{"t", "a", "/nix/store/02-t"},
			Placement{Path: "/run/secrets/rendered/t", Mode: fs.ModeSetuid | 0o755, RestartUnits: []string{}, ReloadUnits: []string{}},
		}},
		Placeholders:      map[string]string{"db/password": "<SOPS:00:PLACEHOLDER>", "of-users": "<SOPS:01:PLACEHOLDER>"},
		SecretsMountPoint: "/run/secrets.d", SymlinkPath: "/run/secrets", KeepGenerations: 1, UseTmpfs: true, Logging: Logging{true, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The key counts in dotenv and INI files where a manifest has a version, and in binary files never.
func TestParse_keyOfFlatFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, format, want string
	}{
		{"", "dotenv", ""},
		{`"version": 1,`, "dotenv", "k"},
		{`"version": null,`, "ini", ""},
		{`"version": 0,`, "ini", ""},
		{`"version": 1,`, "ini", "k"},
		{"", "binary", ""},
		{`"version": 1,`, "binary", ""},
		{"", "yaml", "k"},
		{"", "json", "k"},
		{"", "", "k"},
	} {
		text := `{` + c.version + ` "secretsMountPoint": "/a", "symlinkPath": "/b", "secrets": [{"name": "s", "key": "k", "sopsFile": "/f", "mode": "0400", "format": "` + c.format + `"}]}`
		m, err := Parse([]byte(text))
		if err != nil || m.Secrets[0].Key != c.want {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
		i, err := ParseInitrd([]byte(text))
		if err != nil || i.Secrets[0].Key != c.want {
			t.Errorf("initrd %s: %+v, %v", text, i, err)
		}
	}
}

// edit is the reference's manifest with a part replaced.
func edit(t *testing.T, old, new string) string {
	t.Helper()
	if strings.Count(reference, old) == 0 {
		t.Fatalf("no %q", old)
	}
	return strings.Replace(reference, old, new, 1)
}

func TestParse_faults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not JSON: line 1, column 1: unexpected end of JSON input"},
		{"not JSON", "{\n  oops", "not JSON: line 2, column 3: invalid character 'o' looking for beginning of object key string"},
		{"something behind it", reference + "x", "not JSON: line 15, column 40: invalid character 'x' after top-level value"},
		{"a list", "[]", "line 1: document: got a JSON array, want an object"},
		{"a secret that is a string", edit(t, `"secrets": [`, `"secrets": ["x", `), "line 5: secrets: got a JSON string, want an object"},
		{"a key that is a number", edit(t, `"key": "db/password"`, `"key": 1`), "line 6: secrets.key: got a JSON number, want a string"},
		{"a number that is none", edit(t, `"uid": 0}`, `"uid": 1.5}`), "line 8: secrets.uid: got a JSON number 1.5, want a whole number"},
		{"key paths that are a string", edit(t, `"sshKeyPaths": []`, `"sshKeyPaths": "/k"`), "line 12: sshKeyPaths: got a JSON string, want a list"},
		{"a switch that is a string", edit(t, `"useTmpfs": true`, `"useTmpfs": "yes"`), "line 15: useTmpfs: got a JSON string, want true or false"},
		{"version of tomorrow", edit(t, `{`, `{"version": 3,`), "version: 3 is not known (this program knows versions up to 2; it is older than the module that wrote the manifest)"},
		{"negative version", edit(t, `{`, `{"version": -1,`), "version: -1 is not known (this program knows versions up to 2; it is older than the module that wrote the manifest)"},
		{"unknown format", edit(t, `"format": "yaml"`, `"format": "toml"`), `secrets[0].format: unknown format "toml" (known: binary, dotenv, ini, json, yaml)`},
		{"format in capitals", edit(t, `"format": "yaml"`, `"format": "YAML"`), `secrets[0].format: unknown format "YAML" (known: binary, dotenv, ini, json, yaml)`},
		{"mode not octal", edit(t, `"mode": "0440"`, `"mode": "0999"`), `secrets[0].mode: mode "0999" is not octal`},
		{"mode in letters", edit(t, `"mode": "0440"`, `"mode": "u=r"`), `secrets[0].mode: mode "u=r" is not octal`},
		{"mode with sign", edit(t, `"mode": "0440"`, `"mode": "-0440"`), `secrets[0].mode: mode "-0440" is not octal`},
		{"mode too large", edit(t, `"mode": "0440"`, `"mode": "10000"`), `secrets[0].mode: mode "10000" is larger than 7777`},
		{"no mode", edit(t, `"mode": "0440"`, `"mode": ""`), `secrets[0].mode: missing (for example "0400")`},
		{"no name", edit(t, `"name": "env"`, `"name": ""`), `secrets[1].name: missing`},
		{"name that goes up", edit(t, `"name": "env"`, `"name": "../env"`), `secrets[1].name: "../env" cannot be a file name below the secrets directory`},
		{"name that goes up inside", edit(t, `"name": "env"`, `"name": "a/../../env"`), `secrets[1].name: "a/../../env" cannot be a file name below the secrets directory`},
		{"absolute name", edit(t, `"name": "env"`, `"name": "/env"`), `secrets[1].name: "/env" cannot be a file name below the secrets directory`},
		{"name of the directory", edit(t, `"name": "env"`, `"name": "."`), `secrets[1].name: "." cannot be a file name below the secrets directory`},
		{"name with NUL", edit(t, `"name": "env"`, `"name": "a\u0000b"`), `secrets[1].name: "a\x00b" cannot be a file name below the secrets directory`},
		{"name twice", edit(t, `"name": "env"`, `"name": "db/password"`), `secrets[1].name: "db/password" is also the name of secrets[0]`},
		{"name below a name", edit(t, `"name": "env"`, `"name": "db/password/x"`), `secrets[1].name: "db/password/x" is below "db/password", which is a file (secrets[0])`},
		{"name above a name", edit(t, `"name": "env"`, `"name": "db"`), `secrets[0].name: "db/password" is below "db", which is a file (secrets[1])`},
		{"name of the templates", edit(t, `"name": "env"`, `"name": "rendered/t"`), `secrets[1].name: "rendered/t" is in the way of the rendered templates`},
		{"relative sops file", edit(t, `"sopsFile": "/b"`, `"sopsFile": "b"`), `secrets[2].sopsFile: "b" is not an absolute path`},
		{"no sops file", edit(t, `"sopsFile": "/b"`, `"sopsFile": ""`), `secrets[2].sopsFile: missing`},
		{"relative path", edit(t, `"path": "/run/secrets/db/password"`, `"path": "db"`), `secrets[0].path: "db" is not an absolute path`},
		{"path that goes up", edit(t, `"path": "/run/secrets/db/password"`, `"path": "/run/../etc/x"`), `secrets[0].path: "/run/../etc/x" goes up and down again (write "/etc/x")`},
		{"path of the root", edit(t, `"path": "/run/secrets/db/password"`, `"path": "//"`), `secrets[0].path: cannot be the root directory`},
		{"path of a user in system mode", edit(t, `"path": "/run/secrets/db/password"`, `"path": "%r/x"`), `secrets[0].path: "%r/x" is not an absolute path`},
		{"negative owner", edit(t, `"uid": 2`, `"uid": -2`), `secrets[1].uid: -2 is not a user or group number`},
		{"owner too large", edit(t, `"uid": 2`, `"uid": 4294967295`), `secrets[1].uid: 4294967295 is not a user or group number`},
		{"no mount point", edit(t, `"secretsMountPoint": "/run/secrets.d"`, `"secretsMountPoint": ""`), `secretsMountPoint: missing`},
		{"relative link", edit(t, `"symlinkPath": "/run/secrets"`, `"symlinkPath": "run/secrets"`), `symlinkPath: "run/secrets" is not an absolute path`},
		{"negative number of generations", edit(t, `"keepGenerations": 1`, `"keepGenerations": -1`), `keepGenerations: -1 is negative`},
		{"relative key file", edit(t, `"ageKeyFile": null`, `"ageKeyFile": "key"`), `ageKeyFile: "key" is not an absolute path`},
		{"key file of a user in system mode", edit(t, `"ageKeyFile": null`, `"ageKeyFile": "%r/key"`), `ageKeyFile: "%r/key" is not an absolute path`},
		{"unit with a line break", edit(t, `"a.service"`, `"a.service\nb.service"`), `secrets[0].restartUnits[0]: "a.service\nb.service" cannot be the name of a unit`},
		{"unit with a blank", edit(t, `"b.service"`, `"b c.service"`), `secrets[0].reloadUnits[0]: "b c.service" cannot be the name of a unit`},
		{"unit without a name", edit(t, `"b.service"`, `""`), `secrets[0].reloadUnits[0]: "" cannot be the name of a unit`},
		{"key to generate nowhere", edit(t, `"ageKeyFile": null`, `"generateAgeKey": true`), `generateAgeKey: needs ageKeyFile, which says where the key belongs`},
		{"relative SSH key", edit(t, `"sshKeyPaths": []`, `"sshKeyPaths": ["/a", "b"]`), `sshKeyPaths[1]: "b" is not an absolute path`},
		{"empty SSH key", edit(t, `"ageSshKeyPaths": [`, `"ageSshKeyPaths": ["", `), `ageSshKeyPaths[0]: missing`},
		{"relative GnuPG home", edit(t, `"gnupgHome": null`, `"gnupgHome": "gnupg"`), `gnupgHome: "gnupg" is not an absolute path`},
		{"negative timeout", edit(t, `{`, `{"keyTimeout": -1,`), `keyTimeout: -1 is not a number of seconds from 0 to 86400`},
		{"timeout for ever", edit(t, `{`, `{"keyTimeout": 9223372036854775807,`), `keyTimeout: 9223372036854775807 is not a number of seconds from 0 to 86400`},
		{"relative template file", edit(t, `"file": "/nix/store/02-t"`, `"file": "t"`), `templates[0].file: "t" is not an absolute path`},
		{"template without name", edit(t, `"name": "t"`, `"name": ""`), `templates[0].name: missing`},
		{"all at once", edit(t, `"mode": "0440", "name": "db/password"`, `"mode": "x", "name": ".."`), "secrets[0].name: \"..\" cannot be a file name below the secrets directory\nsecrets[0].mode: mode \"x\" is not octal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse([]byte(c.text))
			if err == nil || err.Error() != c.want || m != nil {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}

func TestParse_userMode(t *testing.T) {
	t.Parallel()
	m, err := Parse([]byte(`{"userMode": true, "secretsMountPoint": "%r/secrets.d", "symlinkPath": "/home/u//.config/secrets/", "ageKeyFile": "%r/key",
		"secrets": [{"name": "s", "sopsFile": "/f", "mode": "0400", "path": "%r/./s"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.SecretsMountPoint != "%r/secrets.d" || m.SymlinkPath != "/home/u/.config/secrets" || m.Secrets[0].Path != "%r/s" || m.Keys.AgeKeyFile != "%r/key" {
		t.Errorf("%+v", m)
	}
}

const initrd = `{ "version": 1, "prefix": "/.initrd-secrets", "ageSshKeyPaths": ["/k"], "keyTimeout": 5,
  "secrets":   [ {"name": "luks", "key": "a/b", "sopsFile": "/s.yaml", "format": "yaml"}, {"name": "wg", "key": "wg", "sopsFile": "/s.yaml"} ],
  "templates": [ {"name": "wg.conf", "content": "x"} ],
  "placeholderBySecretName": {"wg": "<wg>"},
  "entries": [
    {"path": "/etc/luks.key", "secret": "luks", "mode": "0440", "uid": 1, "gid": 152},
    {"path": "/etc/wg.conf", "template": "wg.conf", "prefix": "/"},
    {"path": "/etc/ca", "source": "/etc/ssl/../ssl/ca"} ] }`

func TestParseInitrd(t *testing.T) {
	t.Parallel()
	got, err := ParseInitrd([]byte(initrd))
	if err != nil {
		t.Fatal(err)
	}
	mode := fs.FileMode(0o440)
	want := &Initrd{
		Version: 1, Keys: KeySources{AgeSSHKeyPaths: []string{"/k"}, KeyTimeout: 5},
		Secrets:   []Source{{"luks", "/s.yaml", YAML, "a/b"}, {"wg", "/s.yaml", YAML, "wg"}},
		Templates: []Text{{Name: "wg.conf", Content: "x"}}, Placeholders: map[string]string{"wg": "<wg>"},
		Entries: []Entry{
			{Prefix: "/.initrd-secrets", Path: "/etc/luks.key", Secret: "luks", Mode: &mode, UID: 1, GID: 152},
			{Prefix: "/", Path: "/etc/wg.conf", Template: "wg.conf"},
			{Prefix: "/.initrd-secrets", Path: "/etc/ca", Source: "/etc/ssl/../ssl/ca"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, path := range []string{"/.initrd-secrets/etc/luks.key", "/etc/wg.conf", "/.initrd-secrets/etc/ca"} {
		if got.Entries[i].ImagePath() != path {
			t.Errorf("entry %d is at %s", i, got.Entries[i].ImagePath())
		}
	}
	empty, err := ParseInitrd([]byte(`{"version": 1, "entries": []}`))
	if err != nil || len(empty.Entries) != 0 {
		t.Errorf("no entries: %+v, %v", empty, err)
	}
}

func TestParseInitrd_faults(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) string {
		t.Helper()
		if !strings.Contains(initrd, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(initrd, old, new, 1)
	}
	path := func(p string) string { return edit(`"/etc/luks.key"`, `"`+p+`"`) }
	for _, c := range []struct{ name, text, want string }{
		{"no path", path(""), `entries[0].path: missing`},
		{"relative path", path("etc/x"), `entries[0].path: "etc/x" is not an absolute path`},
		{"unclean path", path("/etc//x"), `entries[0].path: "/etc//x" is not a clean path (write "/etc/x")`},
		{"path that goes up", path("/etc/../x"), `entries[0].path: "/etc/../x" is not a clean path (write "/x")`},
		{"slash behind", path("/etc/x/"), `entries[0].path: "/etc/x/" is not a clean path (write "/etc/x")`},
		{"root", path("/"), `entries[0].path: cannot be the root directory`},
		{"NUL", path(`/a\u0000b`), `entries[0].path: "/a\x00b" is not a clean path (write "/a\x00b")`},
		{"blank", path("/a b"), `entries[0].path: "/a b" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"tab", path(`/a\tb`), `entries[0].path: "/a\tb" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"newline", path(`/a\nb`), `entries[0].path: "/a\nb" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"star", path("/a*"), `entries[0].path: "/a*" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"question mark", path("/a?"), `entries[0].path: "/a?" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"bracket", path("/a[b]"), `entries[0].path: "/a[b]" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"backslash", path(`/a\\b`), `entries[0].path: "/a\\b" has white space or a shell wildcard, which stage 1 cannot copy`},
		{"path twice", path("/etc/ca"), `entries[2].path: "/etc/ca" is also the path of entries[0]`},
		{"path twice, by prefix", edit(`"prefix": "/"`, `"prefix": "/.initrd-secrets/etc"`) + "", ``},
		{"same place by other prefixes", edit(`{"path": "/etc/wg.conf", "template": "wg.conf", "prefix": "/"}`, `{"path": "/.initrd-secrets/etc/luks.key", "template": "wg.conf", "prefix": "/"}`), `entries[1].path: "/.initrd-secrets/etc/luks.key" is also the path of entries[0]`},
		{"path below a file", path("/etc/ca/luks.key"), ``}, // what the source is nobody knows yet
		{"path below a secret", edit(`"/etc/ca"`, `"/etc/luks.key/ca"`), `entries[2].path: "/etc/luks.key/ca" is below "/etc/luks.key", which is a file (entries[0])`},
		{"of a user", edit(`"prefix": "/.initrd-secrets"`, `"userMode": true`), `userMode: there is no initrd of a user's`},
		{"no origin", edit(`"secret": "luks",`, ``), `entries[0]: needs one of secret, template and source`},
		{"two origins", edit(`"secret": "luks",`, `"secret": "luks", "source": "/x",`), `entries[0]: has secret and source, but can have only one of them`},
		{"three origins", edit(`"secret": "luks",`, `"secret": "luks", "source": "/x", "template": "wg.conf",`), `entries[0]: has secret and template and source, but can have only one of them`},
		{"unknown secret", edit(`"secret": "luks"`, `"secret": "nobody"`), `entries[0].secret: no secret is named "nobody"`},
		{"unknown template", edit(`"template": "wg.conf"`, `"template": "nobody"`), `entries[1].template: no template is named "nobody"`},
		{"relative source", edit(`"source": "/etc/ssl/../ssl/ca"`, `"source": "ca"`), `entries[2].source: "ca" is not an absolute path`},
		{"mode not octal", edit(`"mode": "0440"`, `"mode": "8"`), `entries[0].mode: mode "8" is not octal`},
		{"negative owner", edit(`"uid": 1`, `"uid": -1`), `entries[0].uid: -1 is not a user or group number`},
		{"group too large", edit(`"gid": 152`, `"gid": 4294967296`), `entries[0].gid: 4294967296 is not a user or group number`},
		{"relative prefix", edit(`"prefix": "/.initrd-secrets"`, `"prefix": "x"`), `prefix: "x" is not an absolute path`},
		{"unclean prefix of an entry", edit(`"prefix": "/"`, `"prefix": "//x"`), `entries[1].prefix: "//x" is not a clean path (write "/x")`},
		{"secret twice", edit(`"name": "wg", `, `"name": "luks", `), `secrets[1].name: "luks" is also the name of secrets[0]`},
		{"unknown format", edit(`"format": "yaml"`, `"format": "xml"`), `secrets[0].format: unknown format "xml" (known: binary, dotenv, ini, json, yaml)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := ParseInitrd([]byte(c.text))
			if (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || m != nil) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.json")
	if err := os.WriteFile(path, []byte(reference), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := Read(path); err != nil || len(m.Secrets) != 3 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := Read("/no/such/file"); err == nil || err.Error() != "read manifest /no/such/file: no such file or directory" {
		t.Errorf("error is %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"secretsMountPoint": "a", "symlinkPath": "b"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "manifest " + path + `: secretsMountPoint: "a" is not an absolute path` + "\nmanifest " + path + `: symlinkPath: "b" is not an absolute path`
	if _, err := Read(path); err == nil || err.Error() != want {
		t.Errorf("error is %v", err)
	}
	if err := os.WriteFile(path, []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInitrd(path); err == nil || err.Error() != "manifest "+path+": not JSON: line 1, column 1: unexpected end of JSON input" {
		t.Errorf("error is %v", err)
	}
}

// What comes out of the parsers keeps its promises, whatever goes in.
func FuzzParse(f *testing.F) {
	f.Add([]byte(reference))
	f.Add([]byte(initrd))
	f.Add([]byte(`{"userMode": true, "secretsMountPoint": "%r/x", "symlinkPath": "/y", "secrets": [{"name": "a/b", "sopsFile": "/f", "mode": "7777"}]}`))
	f.Add([]byte(`{"version": 1, "secrets": ` + strings.Repeat("[", 20_000)))
	f.Add([]byte(`{"version": 1, "entries": [{"path": "/../x", "source": "/dev/zero"}, {"path": "//x/", "source": "/x"}]}`))
	f.Add([]byte(`{"secretsMountPoint": "/run/secrets.d", "symlinkPath": "/run/secrets", "secrets": [{"name": "-x\\u001b", "sopsFile": "/f", "path": "/run/secrets.d/.lock", "uid": 4294967295}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Parse(data); err == nil {
			for _, s := range m.Secrets {
				if s.Mode&^(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 || !fs.ValidPath(s.Name) && json.Valid([]byte(`"`+s.Name+`"`)) || !strings.HasPrefix(s.SopsFile, "/") {
					t.Errorf("secret %+v", s)
				}
			}
		} else if m != nil {
			t.Error("a manifest and an error")
		}
		if m, err := ParseInitrd(data); err == nil {
			seen := make(map[string]bool)
			for _, e := range m.Entries {
				if p := e.ImagePath(); seen[p] || p != filepath.Clean(p) || p[0] != '/' || p == "/" || strings.ContainsAny(e.Path, " \t\r\n*?[]\\") {
					t.Errorf("entry %+v", e)
				}
				seen[e.ImagePath()] = true
			}
		}
	})
}
