package vmtests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sops-initrd/initrd"
	"sops-initrd/vmtests/vm"
)

// The tests of this file cut the power at every moment of an installation. A guest runs it on file systems whose every write
// and flush QEMU records; from the records the host makes each state that a power cut could have left on the disk, and looks at
// it with the tools of the file system.

// crashCase is one installation on one file system.
type crashCase struct {
	name   string
	prior  []string // run on the host before, to make the image that is there; none: the image is the base
	absent bool     // there is no image yet
	run    []string // what the guest runs, the images' names without their directory last
	full   bool     // the file system has no room for a second copy

	// What a power cut may leave besides the old and the new image.
	torn bool // the base, whole, with some of the new segment behind it, or none; on vfat perhaps not before a check
	bad  bool // anything: a case that shows what this project does not do
}

func crashCases() []crashCase {
	install := func(args ...string) []string { return append([]string{"install", "-base", "/base"}, args...) }
	cases := []crashCase{
		{name: "first", run: install("new", "3000", "initrd")},
		{name: "longer", prior: install("old", "3000", "initrd"), run: install("new", "90000", "initrd")},
		{name: "inplace", prior: install("old", "3000", "initrd"), run: []string{"in-place", "-base", "/base", "new", "5000", "initrd"}, full: true, torn: true},
		{name: "create", absent: true, run: install("new", "3000", "initrd")},
		{name: "naive", prior: install("old", "3000", "initrd"), run: []string{"rename-once", "new", "3000", "initrd"}, bad: true},
	}
	if !long() {
		return cases
	}
	return append(cases,
		crashCase{name: "equal", prior: install("old", "3000", "initrd"), run: install("new", "3000", "initrd")},
		crashCase{name: "shorter", prior: install("old", "90000", "initrd"), run: install("new", "3000", "initrd")},
		crashCase{name: "unchanged", prior: install("old", "3000", "initrd"), run: install("old", "3000", "initrd")},
		crashCase{name: "remove", prior: install("old", "3000", "initrd"), run: []string{"remove", "-base", "/base", "initrd"}},
		crashCase{name: "two", prior: install("old", "3000", "initrd", "second"), run: install("new", "5000", "initrd", "second")},
		crashCase{name: "stock", run: []string{"append", "new", "90000", "initrd"}, bad: true},
	)
}

// fileSystem is a kind of file system: how one is made with files in it, and how a file is read from one that was not
// unmounted.
type fileSystem struct {
	name, kind string
	make       func(t *testing.T, tree *vm.Tree, file string, sizeMiB int)
	free       func(t *testing.T, disk string) int // bytes
	read       func(disk, name, into string) error // fs.ErrNotExist when it is not there
	small      int                                 // MiB of the smallest that serves
}

var errLost = errors.New("lost")

func vfat(bits string, small int) fileSystem {
	return fileSystem{
		name: "vfat" + bits, kind: "vfat", small: small,
		make: func(t *testing.T, tree *vm.Tree, file string, sizeMiB int) {
			run(t, exec.Command("mkfs.vfat", "-F", bits, "-C", file, fmt.Sprint(sizeMiB<<10)))
			dir := t.TempDir()
			if err := tree.Populate(dir); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"initrd", "second", "filler"} {
				if tree.Has(name) {
					run(t, exec.Command("mcopy", "-i", file, filepath.Join(dir, name), "::/"))
				}
			}
		},
		free: func(t *testing.T, disk string) int {
			// "  16 502 784 bytes free"
			free := 0
			for line := range strings.Lines(string(run(t, exec.Command("mdir", "-i", disk, "::/")))) {
				if number, found := strings.CutSuffix(strings.TrimSpace(line), " bytes free"); found {
					free, _ = strconv.Atoi(strings.ReplaceAll(number, " ", ""))
				}
			}
			return free
		},
		read: func(disk, name, into string) error {
			out, err := exec.Command("mcopy", "-n", "-i", disk, "::/"+name, into).CombinedOutput()
			switch {
			case err == nil:
				return nil
			case bytes.Contains(out, []byte("not found")):
				return fs.ErrNotExist
			}
			return fmt.Errorf("%w: %s", errLost, bytes.TrimSpace(out))
		},
	}
}

func ext4() fileSystem {
	return fileSystem{
		name: "ext4", kind: "ext4", small: 16,
		make: func(t *testing.T, tree *vm.Tree, file string, sizeMiB int) {
			dir := t.TempDir()
			if err := tree.Populate(dir); err != nil {
				t.Fatal(err)
			}
			run(t, exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-d", dir, file, fmt.Sprintf("%dM", sizeMiB)))
		},
		free: func(t *testing.T, disk string) int {
			for line := range strings.Lines(string(run(t, exec.Command("dumpe2fs", "-h", disk)))) {
				if number, found := strings.CutPrefix(line, "Free blocks:"); found {
					blocks, _ := strconv.Atoi(strings.TrimSpace(number))
					return blocks<<10 - 16<<20/50 // blocks of a file system this small; the kernel keeps 2 % back
				}
			}
			return 0
		},
		read: func(disk, name, into string) error {
			// What the next mount would do first: the journal is replayed. Not on the original, from which further states are made.
			data, err := os.ReadFile(disk)
			if err != nil {
				return err
			}
			mended := into + ".disk"
			if err := os.WriteFile(mended, data, 0o600); err != nil {
				return err
			}
			if out, err := exec.Command("e2fsck", "-f", "-y", mended).CombinedOutput(); err != nil {
				var exit *exec.ExitError // 1: something was mended
				if !errors.As(err, &exit) || exit.ExitCode() > 1 {
					return fmt.Errorf("%w: e2fsck: %w: %s", errLost, err, out)
				}
			}
			out, err := exec.Command("debugfs", "-R", "dump /"+name+" "+into, mended).CombinedOutput()
			if err == nil && bytes.Contains(out, []byte("File not found")) {
				return fs.ErrNotExist
			}
			return err
		},
	}
}

// crashDisk is one case on one file system while it is being examined.
type crashDisk struct {
	crashCase
	fileSystem
	dir      string            // of its own, on the host
	before   []byte            // the disk
	old, new map[string][]byte // the images, by name; nil when there is none
	judged   map[string]int    // states by verdict
}

func (d *crashDisk) serial() string { return d.fileSystem.name + "-" + d.crashCase.name }

// disksPerGuest is below the number of slots that the guest's PCI bus has.
const disksPerGuest = 20

func TestPowerCut_imageIsOldOrNew(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.vfat", "mcopy", "mkfs.ext4", "e2fsck", "debugfs")
	installer := guestProgram(t, "installer")
	base := filepath.Join(t.TempDir(), "base")
	var content vm.Tree
	content.File("/etc/of-the-base", 0o644, randomBytes(300_000))
	if err := os.WriteFile(base, compress(t, "zstd", archive(t, &content)), 0o600); err != nil {
		t.Fatal(err)
	}

	systems := []fileSystem{vfat("16", 16), ext4()}
	if long() {
		systems = append(systems, vfat("32", 40))
	}
	var disks []*crashDisk
	for _, system := range systems {
		for _, c := range crashCases() {
			if system.kind == "ext4" && c.bad && !long() {
				continue
			}
			d := &crashDisk{crashCase: c, fileSystem: system, dir: t.TempDir(), judged: map[string]int{}}
			d.prepare(t, installer, base)
			disks = append(disks, d)
		}
	}
	for part := range slices.Chunk(disks, disksPerGuest) {
		recordInstallations(t, k, installer, base, part)
	}
	for _, d := range disks {
		t.Run(d.serial(), func(t *testing.T) { d.examine(t, installer, base) })
	}
}

// randomBytes cannot be compressed, and are the same in every run.
func randomBytes(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

// onHost runs an installer's command line in a directory of the host.
func onHost(installer, base, dir string, args []string) error {
	words := append([]string{}, args...)
	for i, w := range words {
		switch w {
		case "/base":
			words[i] = base
		case "initrd", "second":
			words[i] = filepath.Join(dir, w)
		}
	}
	if words[0] == "in-place" {
		words[0] = "install" // there is room on the host
	}
	_, err := vm.Output(exec.Command(installer, words...))
	return err
}

func (d *crashDisk) images() []string {
	if d.crashCase.name == "two" {
		return []string{"initrd", "second"}
	}
	return []string{"initrd"}
}

// prepare makes the disk, and on the host the images that should be there before and after.
func (d *crashDisk) prepare(t *testing.T, installer, base string) {
	t.Helper()
	pristine, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	read := func() map[string][]byte {
		images := map[string][]byte{}
		for _, name := range d.images() {
			if data, err := os.ReadFile(filepath.Join(work, name)); err == nil {
				images[name] = data
			}
		}
		return images
	}
	var tree vm.Tree
	if !d.absent {
		for _, name := range d.images() {
			if err := os.WriteFile(filepath.Join(work, name), pristine, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d.prior != nil {
		if err := onHost(installer, base, work, d.prior); err != nil {
			t.Fatal(err)
		}
	}
	d.old = read()
	for name, data := range d.old {
		tree.File(name, 0o600, data)
	}
	if err := onHost(installer, base, work, d.run); err != nil {
		t.Fatal(err)
	}
	d.new = read()
	d.fileSystem.make(t, &tree, d.disk(), d.small)
	if d.full {
		tree.File("filler", 0o600, bytes.Repeat([]byte{1}, d.free(t, d.disk())-100_000)) // zeros would become a hole
		if err := os.Remove(d.disk()); err != nil {
			t.Fatal(err)
		}
		d.fileSystem.make(t, &tree, d.disk(), d.small)
	}
	if d.before, err = os.ReadFile(d.disk()); err != nil {
		t.Fatal(err)
	}
}

func (d *crashDisk) disk() string { return filepath.Join(d.dir, "disk") }
func (d *crashDisk) log() string  { return filepath.Join(d.dir, "log") }

// recordInstallations boots one guest that has all the disks and runs each one's installation. It powers off at once, so that
// what a disk holds then is what the installation itself has made sure of.
func recordInstallations(t *testing.T, k vm.Kernel, installer, base string, disks []*crashDisk) {
	t.Helper()
	var script strings.Builder
	var args []string
	for _, d := range disks {
		if err := os.WriteFile(d.log(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, vm.LoggedDisk(d.serial(), d.disk(), d.log())...)
		words := append([]string{}, d.run...)
		for i, w := range words {
			if w == "initrd" || w == "second" {
				words[i] = "/mnt/" + d.serial() + "/" + w
			}
		}
		fmt.Fprintf(&script, "try %s %s %s\n", d.serial(), d.kind, strings.Join(words, " "))
	}
	root := &vm.Tree{}
	root.Busybox()
	modules, err := k.AddModules(root, "virtio_pci", "virtio_blk", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859-1")
	if err != nil {
		t.Fatal(err)
	}
	root.Copy("/installer", installer)
	root.Copy("/base", base)
	root.File("/init", 0o755, []byte(vm.Prelude+`
for m in `+strings.Join(modules, " ")+`; do insmod $m || result $m fail; done
try() {
  serial=$1 kind=$2; shift 2
  for disk in /sys/block/vd*; do [ "$(cat $disk/serial)" = $serial ] && dev=/dev/${disk##*/}; done
  mkdir -p /mnt/$serial
  mount -t $kind $dev /mnt/$serial || { result $serial fail mount; return; }
  if out=$(/installer "$@" 2>&1); then result $serial ok; else result $serial fail "$out"; fi
}
`+script.String()+`
echo DONE
poweroff -n -f
`))
	rep := boot(t, vm.Machine{Kernel: k, Initrd: writeImage(t, archive(t, root)), Memory: 512, Append: "quiet", Args: args})
	if !rep.Done {
		t.Fatal("the guest did not come to its end")
	}
	for _, d := range disks {
		if res := rep.Results[d.serial()]; !res.OK {
			t.Fatalf("%s: %s", d.serial(), res.Detail)
		}
	}
}

// examine judges every state.
func (d *crashDisk) examine(t *testing.T, installer, base string) {
	epochs, err := vm.ReadLog(d.log())
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, e := range epochs {
		writes += len(e)
	}
	samples := 6
	if long() {
		samples = 100
	}
	random := rand.New(rand.NewPCG(1, 2))
	state := filepath.Join(d.dir, "state")
	err = vm.Replay(d.before, epochs, samples, random, state, func(final bool) error {
		verdict := d.judge(t, state, installer, base)
		d.judged[verdict]++
		d.judged["states"]++
		switch {
		case d.bad:
		case verdict == "lost" || verdict == "mixed" || verdict == "torn" && !d.torn:
			t.Errorf("a state in which the image is %s", verdict)
		case final && verdict != "new":
			t.Errorf("after the installation had returned, a state in which the image is %s", verdict)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-18s %3d writes in %2d epochs; states %4d: old %4d, new %4d, torn %3d, fsck %2d, mixed %3d, lost %3d", d.serial(), writes, len(epochs),
		d.judged["states"], d.judged["old"], d.judged["new"], d.judged["torn"], d.judged["fsck"], d.judged["mixed"], d.judged["lost"])
	switch {
	case d.crashCase.name == "naive" && d.kind == "vfat" && d.judged["lost"] == 0:
		// That it is lost there is the reason for the second fsync; where it is not, the judge sees nothing either.
		t.Error("no state in which an image that was only renamed is lost")
	case d.bad:
	case d.judged["new"] == 0 || d.judged["old"] == 0 && d.crashCase.name != "unchanged":
		t.Error("the states do not go from the old image to the new one: what was recorded is not an installation")
	}
}

// judge says what the images of a state are: old, new, torn (the base is whole, what follows it is neither and known to be
// torn), fsck (torn, and the file's size and its cluster chain differ until the file system was checked), lost (gone, or not
// readable), or mixed (anything else). Several images may be old and new, each for itself; the worst counts.
func (d *crashDisk) judge(t *testing.T, state, installer, base string) string {
	verdict := "new"
	worse := func(v string) {
		order := "new old torn fsck mixed lost"
		if strings.Index(order, v) > strings.Index(order, verdict) {
			verdict = v
		}
	}
	for _, name := range d.images() {
		dir := t.TempDir()
		into := filepath.Join(dir, name)
		err := d.read(state, name, into)
		data, readErr := os.ReadFile(into)
		old, had := d.old[name]
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if had {
				worse("lost")
			} else {
				worse("old")
			}
			continue
		case err != nil && d.torn && d.mends(state, name, into) && d.repairs(t, installer, base, dir, nil, name):
			worse("fsck")
		case err != nil || readErr != nil:
			worse("lost")
			continue
		case bytes.Equal(data, d.new[name]):
		case had && bytes.Equal(data, old):
			worse("old")
		case d.torn && d.repairs(t, installer, base, dir, data, name):
			worse("torn")
		default:
			worse("mixed")
		}
	}
	return verdict
}

// mends reads an image from a copy of the state that was checked as at the next boot.
func (d *crashDisk) mends(state, name, into string) bool {
	data, err := os.ReadFile(state)
	if err != nil || d.kind != "vfat" {
		return false
	}
	mended := into + ".disk"
	if err := os.WriteFile(mended, data, 0o600); err != nil {
		return false
	}
	var exit *exec.ExitError // 1: something was mended
	if err := exec.Command("fsck.vfat", "-a", "-w", mended).Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return false
	}
	return os.RemoveAll(into) == nil && d.read(mended, name, into) == nil
}

// repairs tells whether an image is the base with something behind it that is not taken for a whole segment, and that the next
// run makes the new image of.
func (d *crashDisk) repairs(t *testing.T, installer, base, dir string, data []byte, name string) bool {
	pristine, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	if data == nil {
		if data, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	if !bytes.HasPrefix(data, pristine) || initrd.Verify(bytes.NewReader(data), int64(len(data)), nil) == nil {
		return false
	}
	if err := onHost(installer, base, dir, d.run); err != nil {
		t.Errorf("the run after the power cut: %v", err)
		return false
	}
	repaired, err := os.ReadFile(filepath.Join(dir, name))
	return err == nil && bytes.Equal(repaired, d.new[name])
}
