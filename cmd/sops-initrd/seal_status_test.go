package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/seal"
)

// bootSealed makes a boot partition with one entry, whose system has the manifest and whose initrd
// is given.
func (h sealingHost) bootSealed(manifest, image string) (boot string) {
	h.Helper()
	system := h.path("store/g1")
	if err := os.MkdirAll(system+"/append/bin", 0o700); err != nil {
		h.Fatal(err)
	}
	h.write("store/g1/append/manifest.json", string(h.read(manifest)))
	h.write("store/g1/append/bin/append-initrd-secrets", "#!/bin/sh\n")
	if err := os.Symlink("append/bin/append-initrd-secrets", system+"/append-initrd-secrets"); err != nil {
		h.Fatal(err)
	}
	h.write("boot/loader/entries/nixos-generation-1.conf",
		"title one\nlinux /kernel\ninitrd /"+image+"\noptions init="+system+"/init\n")
	return h.path("boot")
}

// status runs the command and checks what it prints against the schema.
func (h sealingHost) status(exit int, boot, device string) (entry map[string]any, whole string) {
	h.Helper()
	args := []string{"status", "--boot", boot, "--efivars", h.path("none"), "--tpm", device}
	out, _ := h.run(exit, append(args, "--json")...)
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		h.Fatal(err)
	}
	if err := statusSchema(h).check("status", v); err != nil {
		h.Errorf("%v:\n%s", err, out)
	}
	entries, _ := v["entries"].([]any)
	if len(entries) != 1 {
		h.Fatalf("not one entry: %s", out)
	}
	entry, _ = entries[0].(map[string]any)
	text, _ := h.run(exit, append(args, "--long")...)
	metrics, _ := h.run(exit, append(args, "--prometheus", "-")...)
	return entry, out + text + metrics
}

// TestStatus_sealed: what is sealed is said to be, and whether this machine's TPM opens it now.
func TestStatus_sealed(t *testing.T) {
	t.Parallel()
	for _, format := range []seal.Format{seal.TPM2, seal.TPM2SRK} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			h := newSealingHost(t)
			manifest := h.manifest("m.json", "tpm2", `{"format": "`+string(format)+`", "pcrs": [7]}`)
			boot := h.bootSealed("m.json", "image")
			image := h.write("boot/image", string(h.read("base")))
			h.install(cli.Done, manifest, image)

			expect := func(exit int, device, state, opens string, texts ...string) {
				t.Helper()
				e, all := h.status(exit, boot, device)
				if e["state"] != state || e["sealed"] != true || e["opens"] != opens {
					t.Errorf("want %s and %s: %v", state, opens, e)
				}
				for _, text := range texts {
					if !strings.Contains(all, text) {
						t.Errorf("no %q in:\n%s", text, all)
					}
				}
				for _, value := range []string{luksValue, wgValue} {
					if strings.Contains(all, value) {
						t.Error("a value was printed")
					}
				}
			}
			before := h.commands()
			h.run(cli.Done, "status", "--boot", boot, "--efivars", h.path("none"), "--tpm", h.device)
			if n := h.commands() - before; n > 11 {
				t.Errorf("status took %d commands of the TPM", n)
			}
			expect(cli.Done, h.device, "whole", "yes", "(sealed)", "the TPM opens it now", `"failures": 0`,
				"The TPM has counted 0 failures", `system="`+h.path("store/g1")+`"} 1`, "sops_initrd_tpm_failures 0")
			expect(cli.Failed, h.path("no-tpm"), "does not open", "no", "DOES NOT OPEN", "no TPM")
			h.write("broken", "no TPM answers here")
			expect(cli.Done, h.path("broken"), "whole", "unknown", "(sealed, not tried)")

			out, _ := h.run(cli.Done, "inspect", image)
			if !strings.Contains(out, "sops-initrd.cred (sealed, format "+string(format)+", PCRs 7)\n") {
				t.Errorf("inspect: %s", out)
			}
			out, _ = h.run(cli.Done, "inspect", "--json", image)
			var v any
			if err := json.Unmarshal([]byte(out), &v); err != nil {
				t.Fatal(err)
			}
			if err := schemas(t, "output")["inspect"].check("", v); err != nil || !strings.Contains(out, `"sealed": true`) {
				t.Errorf("inspect: %v\n%s", err, out)
			}

			h.tpm.Lock(t, func() {
				tpm, err := seal.Dial(t.Context(), h.tpm.Device())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tpm.Close() }()
				// In the end the TPM refuses this.
				_, _ = seal.Seal(tpm, seal.Options{Name: "x", Format: seal.TPM2}, []byte("x"))
			})
			if format == seal.TPM2SRK {
				expect(cli.Done, h.tpm.Device(), "whole", "yes", "it is in lockout now")
			} else {
				expect(cli.Failed, h.tpm.Device(), "does not open", "no", "in lockout",
					"To repair: wait until the TPM forgets its failures", `"locked": true`,
					"sops_initrd_entry_opens{")
			}
			h.tpm.Replace(t)
			expect(cli.Failed, h.tpm.Device(), "stale", "no", "another one, or was cleared")
		})
	}
}

// What is not sealed is not said to be, and no TPM is asked.
func TestStatus_notSealed(t *testing.T) {
	t.Parallel()
	h := newSealingHost(t)
	manifest := h.manifest("m.json", "tpm2-or-plain", `{"format": "tpm2"}`)
	none := h.path("no-tpm")
	boot := h.bootSealed("m.json", "image")
	image := h.write("boot/image", string(h.read("base")))
	h.install(cli.Done, manifest, image, "--tpm", none)
	e, all := h.status(cli.Done, boot, none)
	if e["state"] != "whole" || e["sealed"] != false || e["opens"] != "" || strings.Contains(all, "(sealed") {
		t.Errorf("%s", all)
	}
	out, _ := h.run(cli.Done, "inspect", image)
	if !strings.Contains(out, "wg.private.cred (encrypted with a key that all know)\n") {
		t.Errorf("inspect: %s", out)
	}
}

// In the form for boot loaders that join initrds, sealed secrets are what they are elsewhere.
func TestSeal_enclosed(t *testing.T) {
	t.Parallel()
	h := newSealingHost(t)
	manifest := h.manifest("m.json", "tpm2", `{"format": "tpm2"}`)
	image := h.path("boot/secrets.img")
	if err := os.Mkdir(h.path("boot"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.install(cli.Done, manifest, image, "--enclose")
	opened, err := initrd.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	segment, err := opened.Extract(t.Context(), initrd.Profile{})
	if err != nil {
		t.Fatal(err)
	}
	if !opened.Enclosed() || len(segment.Entries()) == 0 {
		t.Errorf("enclosed: %v, %v", opened.Enclosed(), segment)
	}
	for _, e := range segment.Entries() {
		plain := h.write("content", string(segment.Content(e.Path)))
		h.noValue(plain)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}

	h.run(cli.Done, "verify", "--tpm", h.device, "--manifest", manifest, image)
	if out, _ := h.run(cli.Done, "inspect", image); !strings.Contains(out, "sops-initrd.cred (sealed, format tpm2)") {
		t.Errorf("inspect: %s", out)
	}
	before, installed := h.commands(), string(h.read("boot/secrets.img"))
	if said := h.install(cli.Done, manifest, image, "--enclose"); said != "" {
		t.Errorf("without a change: %s", said)
	}
	if n := h.commands() - before; n > 1 || string(h.read("boot/secrets.img")) != installed {
		t.Errorf("without a change: %d commands of the TPM, or another image", n)
	}
	h.run(cli.Done, "remove", image)
	h.run(cli.Failed, "verify", "--tpm", h.device, "--manifest", manifest, image)
}
