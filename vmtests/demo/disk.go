package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

const (
	rootMiB  = 24
	storeMiB = 96
)

// makeDisk makes the root file system and encrypts it with the generation's key file.
func (d *demo) makeDisk(ctx context.Context, g *generation) error {
	var root vm.Tree
	root.Busybox()
	root.Libraries(d.program("sops-install-secrets"))
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/nix", "/tmp"} {
		root.Dir(dir, 0o755)
	}
	root.File("/etc/passwd", 0o644,
		[]byte(fmt.Sprintf("root:x:0:0::/root:/bin/sh\napp:x:%d:%d::/:/bin/sh\n", appUID, appGID)))
	root.File("/etc/group", 0o644, []byte(fmt.Sprintf("root:x:0:\napp:x:%d:\n", appGID)))
	key, err := os.ReadFile(filepath.Join(d.dir, "host", "ssh_host_ed25519_key"))
	if err != nil {
		return err
	}
	root.File("/etc/ssh/ssh_host_ed25519_key", 0o600, key)
	disk := filepath.Join(d.dir, "disk.img")
	if err := vm.MakeExt4(ctx, &root, disk, rootMiB); err != nil {
		return err
	}
	if err := vm.EncryptDisk(ctx, disk, g.luksKey); err != nil {
		return err
	}
	d.itemf("disk.img: ext4 inside LUKS2; its key is a random binary file of %d bytes", len(g.luksKey))
	return nil
}

// addLUKSKey gives the new generation's key a slot of its own; the old one keeps its.
func (d *demo) addLUKSKey(ctx context.Context, has, gets *generation) error {
	disk := filepath.Join(d.dir, "disk.img")
	if err := vm.AddKey(ctx, disk, has.luksKey, gets.luksKey); err != nil {
		return err
	}
	if err := vm.CheckKey(ctx, disk, has.luksKey); err != nil {
		return fmt.Errorf("key of generation %d: %w", has.number, err)
	}
	d.itemf("disk.img opens with the keys of both generations")
	return nil
}

// makeStore makes the disk that stands for /nix/store: nothing secret is on it.
func (d *demo) makeStore(ctx context.Context) error {
	var tree vm.Tree
	tree.Copy("/bin/sops-install-secrets", d.program("sops-install-secrets"))
	files, err := filepath.Glob(filepath.Join(d.dir, "store", "*", "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		name, err := filepath.Rel(filepath.Join(d.dir, "store"), file)
		if err != nil {
			return err
		}
		tree.Copy("/"+name, file)
	}
	return vm.MakeExt4(ctx, &tree, filepath.Join(d.dir, "store.img"), storeMiB)
}
