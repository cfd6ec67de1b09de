package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// stageOne is the init of the base: what the scripted stage 1 of NixOS does with secrets, the disk
// and the real root.
func stageOne(modules []string) string {
	return vm.Prelude + `
mount -t tmpfs -o mode=755 run /run
insmods() { for m; do insmod "$m" || result "module-$m" fail; done; }
insmods ` + strings.Join(modules, " ") + `
describe /.initrd-secrets/etc/luks.key /.initrd-secrets/run/secrets/ssh
cd /.initrd-secrets
find . -type f | while read -r f; do mkdir -p "$(dirname "/$f")"; cp "$f" "/$f"; done
cd /
mkdir -p /run/cryptsetup
if cryptsetup open --key-file /etc/luks.key /dev/vda root && mount -t ext4 /dev/mapper/root /sysroot; then
  result disk ok "opened and mounted"
else
  result disk fail "not opened"
  finish
fi
mount -t ext4 -o ro /dev/vdb /sysroot/nix
for word in $(cat /proc/cmdline); do case $word in init=*) next=${word#init=};; esac; done
mount --move /run /sysroot/run
umount /proc /sys /dev
exec switch_root /sysroot "$next"
`
}

// realInit is the init of the real root of the generation whose store directory is dir: activation,
// and a look around.
func realInit(dir string) string {
	return vm.Prelude + `
describe /run/secrets /etc/app/password
if /nix/bin/sops-install-secrets ` + dir + `manifest.json; then result activation ok "exit status 0"; else result activation fail "exit status $?"; fi
for p in /run/secrets/ssh /run/secrets/password /run/secrets/rendered/app.ini; do describe "$p"; done
result link-/run/secrets ok "$(readlink /run/secrets)"
result link-/etc/app/password ok "$(readlink /etc/app/password)"
result through-link ok "$(stat -L -c '%a %u %g' /etc/app/password)"
finish
`
}

// boot boots a generation as its boot entry would, and compares all that the guest saw with what
// was encrypted.
func (d *demo) boot(ctx context.Context, g *generation) error {
	if err := d.makeStore(ctx); err != nil {
		return err
	}
	d.itemf("booting generation %d (Linux %s)", g.number, d.kernel.Version)
	stop := d.progress()
	report, err := vm.Machine{
		Kernel: d.kernel, Initrd: g.image, Append: fmt.Sprintf("quiet init=/nix/%d/init", g.number),
		Args: append(vm.Virtio(filepath.Join(d.dir, "disk.img")),
			vm.Virtio(filepath.Join(d.dir, "store.img"))...),
		Memory: 512,
	}.Boot(ctx)
	stop()
	if err == nil {
		err = d.compare(g, report)
	}
	if err != nil && report != nil {
		return fmt.Errorf("generation %d: %w\nconsole of the guest:\n%s", g.number, err, report.Console)
	}
	return err
}

// compare holds what the guest reported against what was encrypted, and prints it.
func (d *demo) compare(g *generation, report *vm.Report) error {
	file := func(mode string, uid, gid int, data []byte) string {
		return fmt.Sprintf("file %s %d %d %d %x", mode, uid, gid, len(data), sha256.Sum256(data))
	}
	var faults []error
	for _, want := range []struct{ name, detail, note string }{
		{"/.initrd-secrets/etc/luks.key", file("400", 0, 0, g.luksKey), "in the initrd"},
		{"/.initrd-secrets/run/secrets/ssh", file("600", 0, 0, g.sshKey), "in the initrd"},
		{"disk", "opened and mounted", "by stage 1, with the delivered key"},
		{"activation", "exit status 0", "sops-install-secrets in the real root"},
		{"link-/run/secrets", "/run/secrets.d/1", "in place of what stage 1 had left there"},
		{"/run/secrets/ssh", file("400", 0, 0, g.sshKey), "in the real root"},
		{"/run/secrets/password", file("440", appUID, appGID, []byte(g.password)), "in the real root"},
		{"through-link", "440 1000 1000", "/etc/app/password leads there"},
		{
			"/run/secrets/rendered/app.ini", file("400", appUID, 0, []byte(g.rendered())),
			"the template, rendered",
		},
	} {
		got, found := report.Results[want.name]
		switch {
		case !found:
			faults = append(faults, fmt.Errorf("%s: the guest did not get there", want.name))
		case !got.OK || got.Detail != want.detail:
			faults = append(faults, fmt.Errorf("%s: %s, want %s", want.name, got.Detail, want.detail))
		default:
			shown := strings.Fields(want.detail)
			if shown[0] == "file" {
				shown = []string{
					"mode", shown[1], "owner", shown[2] + ":" + shown[3], shown[4],
					"bytes, the value that was encrypted",
				}
			}
			d.itemf("  %-33s %s (%s)", want.name, strings.Join(shown, " "), want.note)
		}
	}
	if !report.Done {
		faults = append(faults, errors.New("the guest did not come to its end"))
	}
	d.itemf("  booted, activated and off in %.1f s", report.Took.Seconds())
	return errors.Join(faults...)
}

// progress says every quarter of a minute that something still goes on, until the function it
// returns is called.
func (d *demo) progress() (stop func()) {
	start := time.Now()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-time.After(15 * time.Second):
				d.itemf("  ... %d s", int(time.Since(start).Seconds()))
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// searchPlaintext looks for the values in every file that was made: they may be in the installed
// images and nowhere else. The real root's own key file is on the encrypted disk only.
func (d *demo) searchPlaintext(generations ...*generation) error {
	var needles [][]byte
	for _, g := range generations {
		body := bytes.Split(g.sshKey, []byte("\n"))[2]
		needles = append(needles, []byte(g.password), g.luksKey[:32], g.luksKey[4000:4032], body,
			[]byte(base64.StdEncoding.EncodeToString(g.luksKey[:48])))
	}
	searched := 0
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Dir(path) == filepath.Join(d.dir, "bin") {
			return err
		}
		if slices.ContainsFunc(generations, func(g *generation) bool { return g.image == path }) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searched++
		for _, needle := range needles {
			if bytes.Contains(data, needle) {
				return fmt.Errorf("%s holds a secret in plain text", path)
			}
		}
		return nil
	})
	if err == nil {
		d.itemf("no value in plain text in any of %d files but the installed images", searched)
	}
	return err
}
