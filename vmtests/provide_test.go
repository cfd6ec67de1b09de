package vmtests

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// provide has sops-initrd put data into the image as path, from a sops file that sops made: a value
// of a file, or, where the data are no text, a file of its own. The error has what the program
// said.
func provide(t *testing.T, image, path, mode string, data []byte, binary bool,
	options ...string,
) error {
	t.Helper()
	dir := t.TempDir()
	plain, encrypted, manifest := filepath.Join(dir, "plain"), filepath.Join(dir, "secrets"),
		filepath.Join(dir, "manifest.json")
	secret, format := map[string]any{"name": "provided", "sopsFile": encrypted}, "binary"
	if !binary {
		format, secret["key"] = "json", "in-the-file"
		data = marshal(t, map[string]string{"in-the-file": string(data)})
	}
	secret["format"] = format
	writeFile(t, plain, 0o600, data)
	writeFile(t, encrypted, 0o600,
		run(t, exec.Command("go", "tool", "sops", "encrypt", "--age",
			"age133mje49khydwktjjyvcqssnvkmu3cfdx4fdmq3pna9yzd6p6gd8sg7pg6r",
			"--input-type", format, "--output-type", "json", plain)))
	keys, err := filepath.Abs(assets + "age-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, manifest, 0o600, marshal(t, map[string]any{
		"version": 1, "ageKeyFile": keys, "secrets": []any{secret},
		"entries": []any{map[string]any{"path": path, "secret": "provided", "mode": mode}},
	}))
	args := append([]string{"append", "--manifest", manifest, "--state", filepath.Join(dir, "state")},
		options...)
	_, err = vm.Output(exec.Command(program(t, "sops-initrd"), append(args, "--", image)...))
	return err
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
