package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// schemas are the definitions of a schema in docs/reference, with references replaced by what they
// refer to.
func schemas(t *testing.T, name string) map[string]schema {
	t.Helper()
	data, err := os.ReadFile("../../docs/reference/" + name + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	var resolve func(v any) any
	resolve = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				return resolve(root.Defs[strings.TrimPrefix(ref, "#/$defs/")])
			}
			for name := range v {
				v[name] = resolve(v[name])
			}
		case []any:
			for i := range v {
				v[i] = resolve(v[i])
			}
		}
		return v
	}
	data, err = json.Marshal(resolve(root.Defs))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]schema)
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever comes of a command, --json prints one object, which its schema describes.
func TestJSON(t *testing.T) {
	t.Parallel()
	all := schemas(t, "output")
	h := newHost(t)
	s := h.encrypt("s.json", map[string]string{"luks": "value"})
	good := h.manifest("m.json", s, []string{"luks"})
	empty := h.write("empty.json", `{"version": 1, "entries": []}`)
	foreign := h.write("lost.json", strings.ReplaceAll(string(h.read("m.json")), "key.txt",
		"other.txt"))
	h.write("other.txt", otherIdentity+"\n")
	image, state := h.path("boot/image"), h.path("state")
	h.write("boot/torn", "070701")
	h.append(good, image)
	h.write(".sops.yaml", "creation_rules:\n  - age: "+testRecipient+"\n")
	for _, c := range []struct {
		status int
		args   []string
	}{
		{cli.Done, []string{"check", good}},
		{cli.Done, []string{"check", empty}},
		{cli.Failed, []string{"check", image}},
		{cli.Done, []string{"plan", "--manifest", good, "--state", state, image}},
		{cli.Done, []string{"plan", "--manifest", empty, "--state", state, image, h.path("new")}},
		{cli.Failed, []string{"plan", "--manifest", foreign, "--state", h.path("none"), h.path("new")}},
		{cli.Failed, []string{"plan", "--system", h.path("none")}},
		{cli.Done, []string{"verify", "--manifest", good, image}},
		{cli.Failed, []string{"verify", "--manifest", empty, image, h.path("boot/torn")}},
		{cli.Failed, []string{"verify", h.path("none")}},
		{cli.Done, []string{"inspect", image, h.path("boot/torn")}},
		{cli.Failed, []string{"inspect", h.path("none")}},
		{cli.Done, []string{"diagnose", "--manifest", good}},
		{cli.Done, []string{"diagnose", "--manifest", empty}},
		{cli.Failed, []string{"diagnose", "--manifest", foreign}},
		{cli.Failed, []string{"diagnose", h.path("none")}},
		{cli.Done, []string{"version"}},
		{cli.Misuse, []string{"bootstrap", "--host-key", testRecipient, h.path("a.txt")}},
		{cli.Failed, []string{"bootstrap", "--host-key", testRecipient, s}},
	} {
		out, _ := h.run(c.status, append(c.args, "--json")...)
		var value any
		if err := json.Unmarshal([]byte(out), &value); err != nil {
			t.Errorf("%q prints %q: %v", c.args, out, err)
			continue
		}
		fault := all[c.args[0]].check("", value)
		if c.status != cli.Done && fault != nil {
			fault = all["failure"].check("", value)
		}
		if fault != nil || strings.Contains(out, ": null") {
			t.Errorf("%q prints\n%s\nfault: %v", c.args, out, fault)
		}
	}
}

// What the NixOS and home-manager modules write is as the schema of manifests says.
func TestManifestSchema(t *testing.T) {
	t.Parallel()
	all := schemas(t, "manifest")
	var nixos, home map[string]any
	for file, into := range map[string]*map[string]any{
		"../../nixos/tests/eval/export.json": &nixos, "../../home/tests/export.json": &home,
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	var look func(v any)
	look = func(v any) {
		object, _ := v.(map[string]any)
		for _, inner := range object {
			look(inner)
		}
		text, _ := v.(string)
		if text == "" {
			text, _ = object["text"].(string)
		}
		var m map[string]any
		if json.Unmarshal([]byte(text), &m) != nil {
			return
		}
		kind := "activation"
		if m["entries"] != nil {
			kind = "initrd"
		}
		found++
		if err := all[kind].check(kind, m); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
	look(nixos)
	look(home)
	if found < 5 {
		t.Errorf("only %d manifests were found", found)
	}
}
