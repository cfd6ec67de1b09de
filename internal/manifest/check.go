package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// runtimeDir stands for XDG_RUNTIME_DIR at the beginning of the paths of a user's manifest.
const runtimeDir = "%r"

func (c rawCommon) check(f *faults) {
	if c.Version < 0 || c.Version > version {
		f.add("version", "%d is not known (this program knows versions up to %d; it is older than the module that wrote the manifest)", c.Version, version)
	}
	f.keySources(c.KeySources, c.UserMode)
}

func (r rawManifest) check() (*Manifest, error) {
	var f faults
	r.rawCommon.check(&f)
	m := &Manifest{
		Version: r.Version, Keys: r.KeySources, Placeholders: r.PlaceholderBySecretName,
		KeepGenerations: r.KeepGenerations, UseTmpfs: r.UseTmpfs, UserMode: r.UserMode, Logging: r.Logging,
		GenerateAgeKey: r.GenerateAgeKey,
	}
	if r.GenerateAgeKey && r.AgeKeyFile == "" {
		f.add("generateAgeKey", "needs ageKeyFile, which says where the key belongs")
	}
	m.SecretsMountPoint = f.place("secretsMountPoint", r.SecretsMountPoint, r.UserMode)
	m.SymlinkPath = f.place("symlinkPath", r.SymlinkPath, r.UserMode)
	if r.KeepGenerations < 0 {
		f.add("keepGenerations", "%d is negative", r.KeepGenerations)
	}
	var secrets, templates []string
	for i, s := range r.Secrets {
		at := fmt.Sprintf("secrets[%d].", i)
		m.Secrets = append(m.Secrets, Secret{s.rawSource.check(&f, at, r.Version), s.rawPlacement.check(&f, at, r.UserMode)})
		secrets = append(secrets, s.Name)
	}
	for i, t := range r.Templates {
		at := fmt.Sprintf("templates[%d].", i)
		m.Templates = append(m.Templates, Template{t.rawText.check(&f, at), t.rawPlacement.check(&f, at, r.UserMode)})
		templates = append(templates, t.Name)
	}
	f.tree("secrets", secrets)
	f.tree("templates", templates)
	if len(templates) > 0 {
		for i, name := range secrets {
			if name == "rendered" || strings.HasPrefix(name, "rendered/") {
				f.add(fmt.Sprintf("secrets[%d].name", i), "%q is in the way of the rendered templates", name)
			}
		}
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return m, nil
}

func (r rawInitrd) check() (*Initrd, error) {
	var f faults
	r.rawCommon.check(&f)
	if r.UserMode && len(r.Entries) > 0 {
		f.add("userMode", "there is no initrd of a user's")
	}
	m := &Initrd{Version: r.Version, Keys: r.KeySources, Placeholders: r.PlaceholderBySecretName}
	var secrets, templates []string
	for i, s := range r.Secrets {
		m.Secrets = append(m.Secrets, s.check(&f, fmt.Sprintf("secrets[%d].", i), r.Version))
		secrets = append(secrets, s.Name)
	}
	for i, t := range r.Templates {
		m.Templates = append(m.Templates, t.check(&f, fmt.Sprintf("templates[%d].", i)))
		templates = append(templates, t.Name)
	}
	if r.Seal != nil {
		m.Sealing = *r.Seal
		m.Sealing.check(&f)
	}
	r.StageOne.check(&f)
	m.StageOne = r.StageOne
	m.Entries = r.checkEntries(&f, f.unique("secrets", secrets), f.unique("templates", templates))
	if err := f.err(); err != nil {
		return nil, err
	}
	return m, nil
}

func (s rawSource) check(f *faults, at string, version int) Source {
	f.name(at+"name", s.Name)
	f.opened(at+"sopsFile", s.SopsFile)
	source := Source{Name: s.Name, SopsFile: s.SopsFile, Format: f.format(at+"format", s.Format), Key: s.Key}
	if facts := formats[source.Format]; facts.whole || version == 0 && facts.wholeInReference {
		source.Key = ""
	}
	return source
}

func (t rawText) check(f *faults, at string) Text {
	f.name(at+"name", t.Name)
	if t.File != "" {
		f.opened(at+"file", t.File)
	}
	return Text(t)
}

func (p rawPlacement) check(f *faults, at string, userMode bool) Placement {
	place := Placement{
		Mode: f.mode(at+"mode", p.Mode), UID: f.id(at+"uid", p.UID), GID: f.id(at+"gid", p.GID),
		RestartUnits: p.RestartUnits, ReloadUnits: p.ReloadUnits,
	}
	f.units(at+"restartUnits", p.RestartUnits)
	f.units(at+"reloadUnits", p.ReloadUnits)
	if p.Path != "" {
		place.Path = f.place(at+"path", p.Path, userMode)
	}
	if p.Owner != nil {
		place.Owner = *p.Owner
	}
	if p.Group != nil {
		place.Group = *p.Group
	}
	return place
}

// place checks a path that is made at activation, and cleans it: the reference takes a path with
// an empty element. In user mode it may begin with %r.
func (f *faults) place(field, text string, userMode bool) string {
	absolute := text
	if userMode {
		absolute = strings.Replace(text, runtimeDir, "/run/user", 1)
	}
	switch {
	case text == "":
		f.add(field, "missing")
	case !path.IsAbs(absolute):
		f.add(field, "%q is not an absolute path", text)
	case strings.Contains(text, "\x00"):
		f.add(field, "%q has a NUL byte", text)
	case slices.Contains(strings.Split(text, "/"), ".."):
		f.add(field, "%q goes up and down again (write %q)", text, path.Clean(text))
	case path.Clean(absolute) == "/":
		f.add(field, "cannot be the root directory")
	}
	return path.Clean(text)
}

// unique checks that no name stands twice in a list, and returns where each name stands first.
func (f *faults) unique(list string, names []string) map[string]int {
	first := make(map[string]int, len(names))
	for i, name := range names {
		if j, ok := first[name]; ok && name != "" {
			f.add(fmt.Sprintf("%s[%d].name", list, i), "%q is also the name of %s[%d]", name, list, j)
			continue
		}
		first[name] = i
	}
	return first
}

// tree checks that the names of a list can be files of one directory tree: none twice, none below
// another.
func (f *faults) tree(list string, names []string) {
	index := f.unique(list, names)
	for i, name := range names {
		for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if j, ok := index[dir]; ok {
				f.add(fmt.Sprintf("%s[%d].name", list, i), "%q is below %q, which is a file (%s[%d])", name, dir, list, j)
			}
		}
	}
}
