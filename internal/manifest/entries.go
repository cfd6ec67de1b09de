package manifest

import (
	"fmt"
	"path"
	"strings"
)

// DefaultPrefix is the directory whose content NixOS's stage 1 copies to its place
// (nixpkgs, nixos/modules/system/boot/systemd/initrd-secrets.nix and stage-1-init.sh).
const DefaultPrefix = "/.initrd-secrets"

// CannotCopy are the bytes that the copy loops of stage 1 cannot carry: they expand file names
// without quotes.
const CannotCopy = " \t\r\n\v\f*?[]\\"

// CredentialsDir is where a systemd in an initrd looks for encrypted credentials (systemd, man page
// systemd-stub, "/.extra/credentials"; imported by PID 1 whatever loader brought the image).
const CredentialsDir = "/.extra/credentials"

// CredentialSuffix is that of the files there.
const CredentialSuffix = ".cred"

// ImagePath is the place of the entry in the image.
func (e Entry) ImagePath() string {
	if e.Credential != "" {
		return path.Join(CredentialsDir, e.Credential+CredentialSuffix)
	}
	return path.Join(e.Prefix, e.Path)
}

func (r rawInitrd) checkEntries(f *faults, secrets, templates map[string]int) []Entry {
	var entries []Entry
	first := make(map[string]int, len(r.Entries))
	prefix := DefaultPrefix
	if r.Prefix != nil {
		prefix = *r.Prefix
		f.prefix("prefix", prefix)
	}
	for i, raw := range r.Entries {
		at := fmt.Sprintf("entries[%d]", i)
		e := Entry{
			Prefix: prefix, Path: raw.Path, Secret: raw.Secret, Template: raw.Template, Source: raw.Source,
			Seal: raw.Seal, Credential: raw.Credential,
		}
		if raw.Prefix != nil {
			e.Prefix = *raw.Prefix
			f.prefix(at+".prefix", e.Prefix)
		}
		if raw.Credential == "" || raw.Path != "" {
			f.imagePath(at+".path", raw.Path)
		}
		if raw.Credential != "" && raw.Path != "" {
			f.add(at+".path", "an entry is a file or a credential, not both")
		}
		r.checkSealing(f, at, e)
		raw.checkOrigin(f, at, secrets, templates)
		if raw.Mode != nil {
			mode := f.mode(at+".mode", *raw.Mode)
			e.Mode = &mode
		}
		e.UID, e.GID = f.id(at+".uid", raw.UID), f.id(at+".gid", raw.GID)
		if j, ok := first[e.ImagePath()]; ok {
			f.add(at+".path", "%q is also the path of entries[%d]", raw.Path, j)
		} else {
			first[e.ImagePath()] = i
		}
		entries = append(entries, e)
	}
	f.nested(entries, first)
	return entries
}

// nested checks that no entry is below one that is a file. Of a source it is not known here what
// it is.
func (f *faults) nested(entries []Entry, first map[string]int) {
	for i, e := range entries {
		for dir := path.Dir(e.ImagePath()); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if j, ok := first[dir]; ok && entries[j].Source == "" && len(entries[j].Path) > 1 {
				f.add(fmt.Sprintf("entries[%d].path", i), "%q is below %q, which is a file (entries[%d])", e.Path, entries[j].Path, j)
			}
		}
	}
}

func (r rawEntry) checkOrigin(f *faults, at string, secrets, templates map[string]int) {
	var given []string
	for _, origin := range []struct{ field, value string }{{"secret", r.Secret}, {"template", r.Template}, {"source", r.Source}} {
		if origin.value != "" {
			given = append(given, origin.field)
		}
	}
	switch {
	case len(given) == 0:
		f.add(at, "needs one of secret, template and source")
	case len(given) > 1:
		f.add(at, "has %s, but can have only one of them", strings.Join(given, " and "))
	case r.Secret != "":
		if _, ok := secrets[r.Secret]; !ok {
			f.add(at+".secret", "no secret is named %q", r.Secret)
		}
	case r.Template != "":
		if _, ok := templates[r.Template]; !ok {
			f.add(at+".template", "no template is named %q", r.Template)
		}
	default:
		f.opened(at+".source", r.Source)
	}
}

// imagePath checks a path of the image.
func (f *faults) imagePath(field, text string) {
	before := len(f.all)
	f.absolute(field, text)
	if len(f.all) > before {
		return
	}
	if text == "/" {
		f.add(field, "cannot be the root directory")
	}
	if strings.ContainsAny(text, CannotCopy) {
		f.add(field, "%q has white space or a shell wildcard, which stage 1 cannot copy", text)
	}
}

// prefix checks a directory of the image; "/" is one.
func (f *faults) prefix(field, text string) {
	if text != "/" {
		f.imagePath(field, text)
	}
}

// id checks a user or group number of the image, which has 32 bits there (newc; the largest means
// "unchanged" to chown).
func (f *faults) id(field string, n int64) uint32 {
	if n < 0 || n >= 1<<32-1 {
		f.add(field, "%d is not a user or group number", n)
		return 0
	}
	return uint32(n)
}
