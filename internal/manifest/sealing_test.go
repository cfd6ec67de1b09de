package manifest

import (
	"strings"
	"testing"
)

const sealed = `{ "version": 2, "seal": {"format": "tpm2-srk", "pcrs": [7]},
  "secrets": [ {"name": "luks", "key": "luks", "sopsFile": "/f"} ],
  "entries": [ {"path": "/etc/luks.key", "secret": "luks", "seal": "tpm2"},
               {"credential": "wg.key", "secret": "luks", "seal": "tpm2-or-plain"} ] }`

func TestSealing(t *testing.T) {
	t.Parallel()
	m, err := ParseInitrd([]byte(sealed))
	if err != nil {
		t.Fatal(err)
	}
	if m.Sealing.Format != "tpm2-srk" || len(m.Sealing.PCRs) != 1 || m.Entries[0].Seal != Sealed || m.Entries[1].Seal != SealedIfPossible {
		t.Errorf("%+v", m)
	}
	if got := m.Entries[1].ImagePath(); got != "/.extra/credentials/wg.key.cred" {
		t.Error(got)
	}
	for _, c := range []struct{ old, with, want string }{
		{`"version": 2`, `"version": 1`, `entries[0].seal: needs "version": 2`},
		{`"version": 2`, `"version": 3`, `version: 3 is not known`},
		{`"tpm2"}`, `"tpm"}`, `entries[0].seal: "tpm" is not known`},
		{`tpm2-srk`, `tpm3`, `seal.format: "tpm3" is not known`},
		{`[7]`, `[24]`, `seal.pcrs[0]: there is no PCR 24`},
		{`[7]`, `[7, 9]`, `seal.pcrs[1]: nothing in an initrd can be bound to PCR 9`},
		{`[7]`, `[-7]`, `seal.pcrs`},
		{`"pcrs": [7]`, `"pcrs": [7], "parent": "tpm2:AAAA"`, `seal.pcrs: what is sealed for another machine`},
		{`wg.key`, `../wg`, `entries[1].credential: "../wg" is not a name`},
		{`{"credential": "wg.key",`, `{"credential": "wg.key", "path": "/x",`, `entries[1].path: an entry is a file or a credential`},
		{`"path": "/etc/luks.key",`, `"path": "/etc/luks.key", "prefix": "/",`, `entries[0].prefix: what lies in the initrd from the beginning`},
		{`"secret": "luks", "seal": "tpm2"`, `"source": "/f", "seal": "tpm2"`, `entries[0].seal: is for secrets and templates`},
	} {
		_, err := ParseInitrd([]byte(strings.Replace(sealed, c.old, c.with, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s instead of %s: %v, want %s", c.with, c.old, err, c.want)
		}
	}
}
