package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// faults collects everything that is wrong with a document.
type faults struct{ all []error }

func (f *faults) add(field, format string, args ...any) {
	f.all = append(f.all, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
}

func (f *faults) err() error { return errors.Join(f.all...) }

// mode checks a mode in octal digits, as chmod(1) takes them.
func (f *faults) mode(field, text string) fs.FileMode {
	bits, err := strconv.ParseUint(text, 8, 32)
	switch {
	case err != nil && text == "":
		f.add(field, "missing (for example \"0400\")")
	case err != nil:
		f.add(field, "mode %q is not octal", text)
	case bits > 0o7777:
		f.add(field, "mode %q is larger than 7777", text)
	}
	return hostfile.Mode(uint32(bits))
}

// format checks a format's name. None at all means yaml, as in the reference.
func (f *faults) format(field, text string) Format {
	if text == "" {
		return YAML
	}
	if _, known := formats[Format(text)]; !known {
		f.add(field, "unknown format %q (known: %s)", text, formatNames())
	}
	return Format(text)
}

// name checks the name of a secret or template, which becomes a path below the secrets directory.
func (f *faults) name(field, text string) {
	switch {
	case text == "":
		f.add(field, "missing")
	case !clean(text) || path.IsAbs(text) || text == "." || strings.HasPrefix(text, "../") || text == "..":
		f.add(field, "%q cannot be a file name below the secrets directory", text)
	}
}

// units checks names of units, which are written to lists with one name a line and given to
// systemctl.
func (f *faults) units(field string, names []string) {
	for i, name := range names {
		splits := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
		if name == "" || strings.ContainsFunc(name, splits) {
			f.add(fmt.Sprintf("%s[%d]", field, i), "%q cannot be the name of a unit", name)
		}
	}
}

// absolute checks a path on this host.
func (f *faults) absolute(field, text string) {
	switch {
	case text == "":
		f.add(field, "missing")
	case !path.IsAbs(text):
		f.add(field, "%q is not an absolute path", text)
	case !clean(text):
		f.add(field, "%q is not a clean path (write %q)", text, path.Clean(text))
	}
}

// clean says whether a path has no empty, "." or ".." element and no NUL byte.
func clean(text string) bool { return path.Clean(text) == text && !strings.Contains(text, "\x00") }

// maxKeyTimeoutSeconds is a day: whoever waits longer waits for nothing.
const maxKeyTimeoutSeconds = 24 * 60 * 60

// keySources checks the paths of the key sources.
func (f *faults) keySources(k KeySources, userMode bool) {
	opened := func(field, text string) {
		if rest, ok := strings.CutPrefix(text, runtimeDir+"/"); ok && userMode {
			text = "/" + rest
		}
		f.opened(field, text)
	}
	for i, p := range k.SSHKeyPaths {
		opened(fmt.Sprintf("sshKeyPaths[%d]", i), p)
	}
	for i, p := range k.AgeSSHKeyPaths {
		opened(fmt.Sprintf("ageSshKeyPaths[%d]", i), p)
	}
	if k.GnuPGHome != "" {
		opened("gnupgHome", k.GnuPGHome)
	}
	if k.AgeKeyFile != "" {
		opened("ageKeyFile", k.AgeKeyFile)
	}
	if k.KeyTimeout < 0 || k.KeyTimeout > maxKeyTimeoutSeconds {
		f.add("keyTimeout", "%d is not a number of seconds from 0 to %d", k.KeyTimeout, maxKeyTimeoutSeconds)
	}
}

// opened checks a path that is only opened, never made: it need not be clean.
func (f *faults) opened(field, text string) {
	switch {
	case text == "":
		f.add(field, "missing")
	case !path.IsAbs(text):
		f.add(field, "%q is not an absolute path", text)
	case strings.Contains(text, "\x00"):
		f.add(field, "%q has a NUL byte", text)
	}
}

// jsonKind names the kind of JSON value that a Go type is decoded from.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Pointer:
		return jsonKind(t.Elem())
	default:
		return "a whole number"
	}
}
