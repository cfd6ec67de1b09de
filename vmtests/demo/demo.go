package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// demo is one run: a machine with its ESP, its disk and its store, all of them files below dir.
type demo struct {
	dir    string
	out    io.Writer
	start  time.Time
	kernel vm.Kernel
	base   string // the initrd as the system's build made it, without secrets
}

func run(ctx context.Context, out io.Writer, dir string, keep bool) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	d := &demo{dir: dir, out: out, start: time.Now(), base: filepath.Join(dir, "base-initrd")}
	if d.kernel, err = vm.FindKernel(); err == nil {
		err = d.kernel.Available()
	}
	if err != nil {
		return fmt.Errorf("%w (run it as `make demo`, as root: the set-up brings QEMU and a kernel)", err)
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	err = d.steps(ctx)
	if err != nil && !keep {
		return errors.Join(err, d.clear())
	}
	if keep {
		d.sayf("\nKept in %s: host/ (the machine's key), store/ (sops files, manifests, hooks), esp/ "+
			"(images), disk.img, store.img, bin/ (programs)\n", dir)
		return err
	}
	d.sayf("\nKept: %s/bin, the programs. KEEP=1 keeps the images, disks and sops files too.\n", dir)
	return d.clear()
}

func (d *demo) steps(ctx context.Context) error {
	d.titlef("1. A host key, and sops files for it")
	one, err := d.newGeneration(ctx, 1)
	if err != nil {
		return err
	}
	d.titlef("2. A LUKS2 disk that the key file from the sops file opens")
	if err := d.makeDisk(ctx, one); err != nil {
		return err
	}
	d.titlef("3. The boot loader is installed; nothing was ever activated on this machine")
	if err := d.makeBase(); err != nil {
		return err
	}
	if err := d.installLoader(ctx, one); err != nil {
		return err
	}
	d.titlef("4. Boot: the initrd opens the disk, the real root installs the other secrets")
	if err := d.boot(ctx, one); err != nil {
		return err
	}
	d.titlef("5. Rotation: every value is new, the new LUKS key gets a slot of its own")
	two, err := d.newGeneration(ctx, 2)
	if err != nil {
		return err
	}
	if err := d.addLUKSKey(ctx, one, two); err != nil {
		return err
	}
	if err := d.installLoader(ctx, one, two); err != nil {
		return err
	}
	if err := d.reinstall(ctx, one, two); err != nil {
		return err
	}
	if err := d.boot(ctx, two); err != nil {
		return err
	}
	d.sayf("\n   and back to generation 1, which has its own key still:\n")
	if err := d.boot(ctx, one); err != nil {
		return err
	}
	if err := d.searchPlaintext(one, two); err != nil {
		return err
	}
	d.sayf("\nAll as it should be, in %d s.\n", int(time.Since(d.start).Seconds()))
	return nil
}

// prepare builds the programs into an empty place.
func (d *demo) prepare(ctx context.Context) error {
	if err := d.clear(); err != nil {
		return err
	}
	for _, sub := range []string{"bin", "host", "store", "esp/EFI/nixos"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o700); err != nil {
			return err
		}
	}
	d.sayf("Building the programs (minutes when it is the first time)\n")
	defer d.progress()()
	// Stripped: what the guest reads from its disk, emulated.
	_, err := d.command(ctx, nil, "go", "build", "-ldflags=-s -w", "-o",
		filepath.Join(d.dir, "bin")+"/",
		"./cmd/sops-initrd", "./cmd/sops-install-secrets", "./cmd/ssh-to-age",
		"github.com/getsops/sops/v3/cmd/sops")
	return err
}

// clear removes all but the programs.
func (d *demo) clear() error {
	var errs []error
	for _, name := range []string{"host", "store", "esp", "base-initrd", "disk.img", "store.img"} {
		errs = append(errs, os.RemoveAll(filepath.Join(d.dir, name)))
	}
	return errors.Join(errs...)
}

func (d *demo) program(name string) string { return filepath.Join(d.dir, "bin", name) }

func (d *demo) sayf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *demo) titlef(format string, args ...any) {
	fmt.Fprintf(d.out, "\n[%3d s] "+format+"\n", append([]any{int(time.Since(d.start).Seconds())},
		args...)...)
}

func (d *demo) itemf(format string, args ...any) { fmt.Fprintf(d.out, "   "+format+"\n", args...) }
