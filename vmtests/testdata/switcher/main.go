// Command switcher is what a guest runs whose power is cut: a switch to another generation, as
// NixOS has it. The boot loader comes first, in the steps of nixpkgs' systemd-boot-builder.py
// (nixos/modules/system/boot/loader/systemd-boot), with what it flushes and what it does not; then
// activation. Each step is announced on the console before it is done.
//
//	switcher BOOT STORE DEFAULT OTHER...
//
// A generation is a directory of STORE with kernel, initrd, append-initrd-secrets and
// manifest.json.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

func main() {
	s := switcher{boot: os.Args[1], store: os.Args[2], generations: os.Args[3:]}
	if err := s.run(); err != nil {
		fmt.Println("SWITCH FAILED:", err)
		os.Exit(1)
	}
}

type switcher struct {
	boot, store string
	generations []string // to be in the menu, the default first
}

func (s switcher) run() error {
	for _, dir := range []string{"EFI/nixos", "loader/entries"} {
		if err := os.MkdirAll(filepath.Join(s.boot, dir), 0o755); err != nil {
			return err
		}
	}
	say("remove old entries")
	if err := s.removeOld(); err != nil {
		return err
	}
	for i := range s.generations {
		// Oldest first; which of them is the default changes nothing in the order.
		if err := s.entry(s.generations[len(s.generations)-1-i]); err != nil {
			return err
		}
	}
	say("write loader.conf")
	conf := fmt.Sprintf("timeout 0\ndefault nixos-generation-%s.conf\n", s.generations[0])
	if err := replace(filepath.Join(s.boot, "loader/loader.conf"), conf); err != nil {
		return err
	}
	say("sync the file system")
	dir, err := os.Open(s.boot)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	say("activate")
	return command(filepath.Join(s.store, "sops-install-secrets"),
		filepath.Join(s.store, s.generations[0], "manifest.json"))
}

func say(step string) { fmt.Println("STEP", step) }

func (s switcher) name(generation, file string) string { return generation + "-" + file + ".efi" }

// removeOld removes entries of generations that are not to be in the menu, and files that none in
// it needs.
func (s switcher) removeOld() error {
	var keep []string
	for _, g := range s.generations {
		keep = append(keep, s.name("0", "kernel"), s.name(g, "initrd"), "nixos-generation-"+g+".conf")
	}
	for _, pattern := range []string{"loader/entries/nixos-generation-*.conf", "EFI/nixos/*"} {
		found, err := filepath.Glob(filepath.Join(s.boot, pattern))
		if err != nil {
			return err
		}
		for _, file := range found {
			if slices.Contains(keep, filepath.Base(file)) {
				continue
			}
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s switcher) entry(generation string) error {
	kernel, initrd := filepath.Join(s.boot, "EFI/nixos", s.name("0", "kernel")),
		filepath.Join(s.boot, "EFI/nixos", s.name(generation, "initrd"))
	say("copy the kernel and the initrd of " + generation)
	if err := copyIfMissing(filepath.Join(s.store, "kernel"), kernel); err != nil {
		return err
	}
	if err := copyIfMissing(filepath.Join(s.store, generation, "initrd"), initrd); err != nil {
		return err
	}
	say("run the hook of " + generation)
	if err := command(filepath.Join(s.store, generation, "append-initrd-secrets"),
		initrd); err != nil {
		return err
	}
	say("write the entry of " + generation)
	return replace(filepath.Join(s.boot, "loader/entries/nixos-generation-"+generation+".conf"),
		fmt.Sprintf(
			"title NixOS\nsort-key nixos\nversion Generation %s\nlinux /EFI/nixos/%s\ninitrd "+
				"/EFI/nixos/%s\noptions init=/nix/%s/init %s\n",
			generation, filepath.Base(kernel), filepath.Base(initrd), generation, os.Getenv("PARAMETERS")))
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func copyIfMissing(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+"*.tmp.")
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

func replace(file, text string) error {
	f, err := os.Create(file + ".tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
