package vmtests

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// hostileInit plays what somebody may have put onto a boot partition, on the kernel's own vfat: it
// has no links and no special files, names that differ in case are one file, and everybody may open
// what the mount shows.
const hostileInit = `
cd /w
export WORK=/w OPTIONS=
check() { n=$1; shift; if "$@" > /run/out 2>&1; then result $n ok; else cat /run/out; result $n fail; fi; }
fails() { "$@"; [ $? = 1 ]; }
il() { timeout 600 sops-initrd install-loader --loader systemd-boot --boot boot --state state -- sh /loaders/bls.sh g1 g2 store/g2; }
has() { sh /loaders/has.sh boot/sops-initrd/$1-initrd $2; }
none() { ! grep -rq OUTSIDE boot; }
sh /loaders/system.sh g1 A first - key.txt
sh /loaders/system.sh g2 B second - key.txt
mkdir boot
mount -t vfat -o umask=0022 /dev/vda boot
mkdir -p boot/loader/entries boot/sops-initrd
check install il
check first has g1 first
check second has g2 second

# Links and special files cannot be there.
ln -s /w boot/link 2>/dev/null || result no-link ok
mkfifo boot/fifo 2>/dev/null || result no-fifo ok

# Our directory is a file; then it has another case, and somebody's files in it.
mv boot/sops-initrd boot/aside
echo mine > boot/SOPS-INITRD
check own-is-a-file fails il
check own-file-stays grep -qx mine boot/SOPS-INITRD
rm boot/SOPS-INITRD
mv boot/aside boot/SOPS-INITRD
cp boot/sops-initrd/g1-initrd boot/SOPS-INITRD/G7-INITRD
cp boot/sops-initrd/g1-initrd boot/SOPS-INITRD/G8-INITRD
echo notes > boot/SOPS-INITRD/NOTES.TXT
printf 'title mine\nlinux /own/kernel\ninitrd /sops-initrd/g7-initrd\n' > boot/loader/entries/zz-mine.conf
cp boot/loader/entries/zz-mine.conf mine
check other-case il
check other-case-first has g1 first
check other-case-second has g2 second
check used-under-another-case test -e boot/sops-initrd/g7-initrd
check unused-goes test ! -e boot/sops-initrd/g8-initrd
check notes-stay grep -qx notes boot/sops-initrd/notes.txt
check clean sops-initrd status --clean --boot boot
check clean-spares-what-is-used test -e boot/sops-initrd/g7-initrd
check clean-spares-notes test -e boot/sops-initrd/notes.txt
check own-entry-stays cmp boot/loader/entries/zz-mine.conf mine

# Entries for files elsewhere, of an older system with an appender of somebody's own.
mkdir -p store/g0/bin
cp store/g1/initrd store/g0/initrd
printf '#!/bin/sh\nprintf SECRETS >> "$1"\n' > store/g0/append-initrd-secrets
chmod 755 store/g0/append-initrd-secrets
echo OUTSIDE > hostkey
n=0
for i in /../hostkey /own/../../hostkey /OWN /dev/null //../w/hostkey; do
  n=$((n + 1))
  printf 'title x%s\nlinux /own/kernel\ninitrd %s\noptions init=/w/store/g0/init\n' $n $i > boot/loader/entries/aa-$n.conf
done
check outside il
check outside-not-copied none
check outside-unchanged grep -qx OUTSIDE hostkey
rm boot/loader/entries/aa-*

# The user's own entry for the default, with an initrd of theirs under a name of another case.
(cat store/g2/initrd; echo more) > boot/rescue.img
cp boot/rescue.img rescue
printf 'title rescue\nlinux /own/kernel\ninitrd /RESCUE.IMG\noptions init=/w/store/g2/init rescue\n' > boot/loader/entries/aa-rescue.conf
cp boot/loader/entries/aa-rescue.conf mine
check rescue il
check rescue-entry cmp boot/loader/entries/aa-rescue.conf mine
check rescue-image cmp boot/rescue.img rescue
check rescue-second has g2 second

# Whoever may open a directory may lock it: it holds nobody up.
for d in boot boot/loader boot/loader/entries boot/sops-initrd; do flock $d sleep 3000 & done
for f in boot/sops-initrd/*; do flock $f sleep 3000 & done
sleep 1
rm boot/sops-initrd/g2-initrd
check locked il
check locked-second has g2 second
check locked-append timeout 600 store/g1/append-initrd-secrets boot/sops-initrd/g1-initrd

# The clock long before and after everything else there.
for year in 1970 2106; do
  date -s $year-01-02 > /dev/null
  rm boot/sops-initrd/g2-initrd
  check clock-$year il
  check clock-$year-second has g2 second
done
finish
`

func TestHostile_vfat(t *testing.T) {
	need(t, "mkfs.vfat", "mcopy")
	k := testKernel(t)
	var root vm.Tree
	k.AddBusybox(&root)
	modules, err := k.AddModules(&root, "virtio_pci", "virtio_blk", "vfat", "nls_ascii", "nls_cp437",
		"nls_iso8859-1")
	if err != nil {
		t.Fatal(err)
	}
	script := vm.Prelude
	for _, m := range modules {
		script += "insmod " + m + " || result " + m + " fail\n"
	}
	root.File("/init", 0o755, []byte(script+hostileInit))
	root.Libraries(program(t, "sops-initrd"))
	root.Copy("/bin/sops-initrd", program(t, "sops-initrd"))
	for _, name := range []string{"system.sh", "bls.sh", "has.sh"} {
		root.Copy("/loaders/"+name, filepath.Join("../cmd/sops-initrd/testdata/loaders", name))
	}
	const key = "AGE-SECRET-KEY-16M0N0NX0LR7053SNXLXA8HFME07Q7P4SFKZ7WRYV6Z0H640PN76SS5P37M\n"
	root.File("/w/key.txt", 0o600, []byte(key))
	for g, value := range map[string]string{"g1": "first", "g2": "second"} {
		plain := writeImage(t, []byte(`{"luks": "`+value+`"}`))
		root.File("/w/kept-"+g+".json", 0o600,
			run(t, exec.Command("go", "tool", "sops", "encrypt", "--age",
				"age1cv92ayum8a9242xal4d7rtzns9s4gfzh3jrx64khjvk5tv06n3psx9ld33",
				"--input-type", "json", "--output-type", "json", plain)))
	}
	esp := filepath.Join(t.TempDir(), "esp")
	if err := vm.MakeFAT(t.Context(), &vm.Tree{}, esp, 40); err != nil {
		t.Fatal(err)
	}
	rep := boot(t, vm.Machine{
		Kernel: k, Initrd: writeImage(t, compress(t, "zstd", archive(t, &root))), Memory: 512,
		Args: vm.Virtio(esp), Timeout: 10 * time.Minute,
	})
	if !rep.Done {
		t.Error("guest did not come to its end")
	}
	for _, name := range rep.Failed(
		"install", "first", "second", "no-link", "no-fifo", "own-is-a-file", "own-file-stays",
		"other-case", "other-case-first", "other-case-second", "used-under-another-case",
		"unused-goes", "notes-stay", "clean", "clean-spares-what-is-used", "clean-spares-notes",
		"own-entry-stays", "outside", "outside-not-copied", "outside-unchanged", "rescue",
		"rescue-entry", "rescue-image", "rescue-second", "locked", "locked-second", "locked-append",
		"clock-1970", "clock-1970-second", "clock-2106", "clock-2106-second",
	) {
		t.Errorf("%s: %s", name, rep.Results[name].Detail)
	}
}
