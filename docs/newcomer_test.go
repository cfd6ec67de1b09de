package docs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// newcomer is the root of a machine that has next to nothing: a base system, Nix, git and an SSH client.
func newcomer(t *testing.T) string {
	t.Helper()
	cache, err := vm.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "newcomer")
	if _, err := os.Stat(filepath.Join(dir, ".packages")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("%v: run scripts/setup", err)
	}
	return dir
}

// standins puts what cannot be had at all on a newcomer's machine: that which NixOS or Nix would bring, nothing of this project
// and no sops.
func (s *stage) standins(t *testing.T) {
	t.Helper()
	dir := s.root("admin") + stageDir + "/standins"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"nix", "nix-shell"}
	if s.directives["nix"] == "real" {
		names = []string{"niv", "npins"}
	}
	for _, name := range append(names, "stage-editor") {
		if standins[name] == nil {
			t.Fatalf("there is no stand-in %s", name)
		}
		if err := os.Symlink(stageDir+"/bin/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// accounts writes those of a base system, whose packages were unpacked and not installed.
func accounts(root string) error {
	if _, err := os.Stat(root + "/etc/passwd"); err == nil {
		return nil
	}
	return errors.Join(
		os.WriteFile(root+"/etc/passwd", []byte("root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/false\n"), 0o644),
		os.WriteFile(root+"/etc/group", []byte("root:x:0:\n"), 0o644),
	)
}

// niv and npins write the files by which a configuration finds sources, as far as these examples need them.

func niv(args []string) error {
	if len(args) != 2 || args[0] != "add" {
		return fmt.Errorf("niv of the stage does not know %q", args)
	}
	return pin("nix/sources", args[1], filepath.Base(args[1]), "main")
}

func npins(args []string) error {
	if len(args) == 1 && args[0] == "init" {
		return nil
	}
	if len(args) != 6 || args[0] != "add" || args[1] != "github" || args[4] != "--branch" {
		return fmt.Errorf("npins of the stage does not know %q", args)
	}
	return pin("npins/default", args[2]+"/"+args[3], args[3], args[5])
}

// pin writes a Nix file with one source, by its address and hash.
func pin(file, repository, name, branch string) error {
	url := "https://github.com/" + repository + "/archive/" + branch + ".tar.gz"
	hash, err := prefetch(url)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file+".nix", fmt.Appendf(nil, `{ %s = builtins.fetchTarball { url = "%s"; sha256 = "%s"; }; }`, name, url, hash), 0o644)
}
