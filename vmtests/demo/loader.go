package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// makeBase builds the initrd that all generations share: busybox, cryptsetup, kernel modules, stage
// 1; compressed as NixOS does it. No secret is in it.
func (d *demo) makeBase() error {
	var t vm.Tree
	t.Busybox()
	t.Program("cryptsetup")
	modules, err := d.kernel.AddModules(&t, "virtio_pci", "virtio_blk", "dm-mod", "dm-crypt", "ecb",
		"xts")
	if err != nil {
		return err
	}
	t.Dir("/sysroot", 0o755)
	t.File("/init", 0o755, []byte(stageOne(modules)))
	archive, err := t.Archive()
	if err != nil {
		return err
	}
	base, err := vm.Compress("zstd", archive)
	if err != nil {
		return err
	}
	d.itemf("base-initrd: %d bytes, zstd, without any secret", len(base))
	return os.WriteFile(d.base, base, 0o444)
}

// installLoader does for each generation what NixOS's systemd-boot builder does: the base is copied
// beside the final name, the generation's hook is run on the copy, the copy gets its name. The name
// tells generations with one initrd apart by their hooks.
func (d *demo) installLoader(ctx context.Context, generations ...*generation) error {
	base, err := os.ReadFile(d.base)
	if err != nil {
		return err
	}
	_, before := os.Lstat(activated)
	for _, g := range generations {
		hook := filepath.Join(g.dir, "append-initrd-secrets")
		sum := sha256.Sum256([]byte(d.base + hook))
		final := filepath.Join(d.dir, "esp/EFI/nixos", fmt.Sprintf("%x-initrd.efi", sum[:8]))
		old, _ := os.ReadFile(final)
		if err := os.WriteFile(final+".tmp", base, 0o600); err != nil {
			return err
		}
		if err := d.hook(ctx, g, final+".tmp"); err != nil {
			return err
		}
		if err := os.Rename(final+".tmp", final); err != nil {
			return err
		}
		g.image = final
		image, err := os.ReadFile(final)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(image, base) {
			return fmt.Errorf("%s does not begin with the base", final)
		}
		note := "new"
		if old != nil {
			if note = "the same bytes as before"; !bytes.Equal(old, image) {
				return fmt.Errorf("generation %d: its secrets are what they were, its image is not", g.number)
			}
		}
		d.itemf("esp/EFI/nixos/%s: generation %d, base + %d bytes (%s)", filepath.Base(final), g.number,
			len(image)-len(base), note)
	}
	if errors.Is(before, fs.ErrNotExist) {
		if _, err := os.Lstat(activated); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the hooks made %s", activated)
		}
		d.itemf("%s does not exist: the values came straight from the sops files", activated)
	}
	return nil
}

// activated is where activated secrets are, on a machine that has some.
const activated = "/run/secrets"

// reinstall runs the hooks on the installed images, as the older builder does at every rebuild:
// nothing may change.
func (d *demo) reinstall(ctx context.Context, generations ...*generation) error {
	for range 3 {
		for _, g := range generations {
			before, err := os.ReadFile(g.image)
			if err != nil {
				return err
			}
			if err := d.hook(ctx, g, g.image); err != nil {
				return err
			}
			after, err := os.ReadFile(g.image)
			if err != nil {
				return err
			}
			if !bytes.Equal(before, after) {
				return fmt.Errorf("generation %d: image changed from %d to %d bytes with unchanged secrets",
					g.number, len(before), len(after))
			}
		}
	}
	d.itemf("the hooks again, three times, on the installed images: not a byte changed")
	return nil
}

// hook runs a generation's append-initrd-secrets on an image, with as little environment as
// nixos-rebuild gives it.
func (d *demo) hook(ctx context.Context, g *generation, image string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(g.dir, "append-initrd-secrets"), image)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	_, err := vm.Output(cmd)
	return err
}
