package resolve_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// BenchmarkRun decrypts secrets of one file: the time for a secret must not grow with their number.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{1, 200, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var text, template strings.Builder
			req := resolve.Request{
				Keys:         manifest.KeySources{AgeKeyFile: testkeys.Path(b, testkeys.Age)},
				Placeholders: map[string]string{},
			}
			for i := range n {
				name := fmt.Sprintf("secret%d", i)
				fmt.Fprintf(&text, "%s: value %d\n", name, i)
				fmt.Fprintf(&template, "%s = <SOPS:%s:PLACEHOLDER>\n", name, name)
				req.Secrets = append(req.Secrets, manifest.Source{Name: name, Key: name, Format: manifest.YAML})
				req.Placeholders[name] = "<SOPS:" + name + ":PLACEHOLDER>"
			}
			req.Templates = []manifest.Text{{Name: "all", Content: template.String()}}
			path := testkeys.Encrypt(b, "yaml", text.String(), "--age", testkeys.Public(b, testkeys.Age))
			for i := range req.Secrets {
				req.Secrets[i].SopsFile = path
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := resolve.Run(b.Context(), req).Err(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/secret")
		})
	}
}

// BenchmarkRun_pgp decrypts files that are encrypted for an SSH RSA key, as an OpenPGP key.
func BenchmarkRun_pgp(b *testing.B) {
	const files = 20
	home := testkeys.GPGHome(b, testkeys.SSHRSA4096)
	public, err := sshkey.ParsePublic(testkeys.Public(b, testkeys.SSHRSA4096))
	if err != nil {
		b.Fatal(err)
	}
	req := resolve.Request{Keys: manifest.KeySources{SSHKeyPaths: []string{testkeys.Path(b,
		testkeys.SSHRSA4096)}}}
	for i := range files {
		path := testkeys.EncryptWith(b, []string{"GNUPGHOME=" + home}, "yaml", "key: value\n", "--pgp",
			public.PGPFingerprint())
		req.Secrets = append(req.Secrets, manifest.Source{
			Name: fmt.Sprint(i), Key: "key",
			SopsFile: path, Format: manifest.YAML,
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := resolve.Run(b.Context(), req).Err(); err != nil {
			b.Fatal(err)
		}
	}
}
