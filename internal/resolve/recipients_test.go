package resolve_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func TestCheckRecipients(t *testing.T) {
	t.Parallel()
	own := testkeys.Public(t, testkeys.SSHEd25519)
	shamir, err := filepath.Abs("../sopsfile/testdata/corpus/v3.13.3/shamir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		hosts      []string
		ok         bool
	}{
		{"raw key", testkeys.Encrypt(t, "yaml", "a: b", "--age", own), []string{own}, true},
		{
			"converted key", testkeys.Encrypt(t, "yaml", "a: b", "--age", sshToAge(t, own)),
			[]string{own},
			true,
		},
		{
			"one of several", testkeys.Encrypt(t, "yaml", "a: b", "--age", sshToAge(t, own)),
			[]string{testkeys.Public(t, testkeys.Age), own},
			true,
		},
		{"another host", testkeys.Encrypt(t, "yaml", "a: b", "--age", own), []string{testkeys.Public(t,
			testkeys.Age)}, false},
		{"two of three groups", shamir, []string{
			testkeys.Public(t, testkeys.SSHRSA2048),
			testkeys.Public(t, testkeys.SSHRSA4096),
		}, true},
		{"one of three groups", shamir, []string{
			testkeys.Public(t, testkeys.SSHRSA2048),
			testkeys.GPGEd25519Fingerprint,
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var hosts []recipient.Key
			for _, text := range c.hosts {
				key, err := recipient.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				hosts = append(hosts, key)
			}
			err := resolve.CheckRecipients(resolve.Request{Secrets: []manifest.Source{{
				Name:     "s",
				SopsFile: c.path, Format: manifest.YAML,
			}}}, hosts)
			if (err == nil) != c.ok {
				t.Errorf("error is %v", err)
			}
			if err != nil && !strings.Contains(report(err), "sops updatekeys "+c.path) {
				t.Errorf("printed\n%s", report(err))
			}
		})
	}
}
