package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// A program that does not answer is waited for as long as the manifest says, unless the command
// line says something else.
func TestAppend_waitsAsLongAsTheManifestSays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	h := newHost(t)
	sopsFile := h.encrypt("s.json", map[string]string{"luks": "value"})
	h.manifest("m.json", sopsFile, []string{"luks"})
	h.write("key.txt", plugin.EncodeIdentity("silent", []byte("x"))+"\n")
	h.write("bin/age-plugin-silent", "#!/bin/sh\nexec sleep 60\n")
	if err := os.Chmod(h.path("bin/age-plugin-silent"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", h.path("bin")+":"+os.Getenv("PATH"))
	h.write("m.json", strings.Replace(string(h.read("m.json")), "{", `{"keyTimeout": 1,`, 1))
	for want, args := range map[string][]string{
		"no answer in 1s":    nil,
		"no answer in 500ms": {"--timeout", "500ms"},
	} {
		begin := time.Now()
		_, stderr := h.run(cli.Failed, append([]string{
			"append", "--manifest", h.path("m.json"),
			"--state", h.path("state"), h.path("image"),
		}, args...)...)
		if took := time.Since(begin); took > 20*time.Second || !strings.Contains(stderr, want) {
			t.Errorf("%q: ended after %s:\n%s", args, took, stderr)
		}
	}
	_, stderr := h.run(cli.Misuse, "append", "--manifest", h.path("m.json"), "--timeout", "0s",
		h.path("image"))
	if !strings.Contains(stderr, "want a time with its unit") {
		t.Error(stderr)
	}
}
