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

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file cut the power at every moment of an installation. A guest runs it on file
// systems whose every write and flush QEMU records; from the records the host makes each state that
// a power cut could have left on the disk, and looks at it with the tools of the file system.

// crashCase is one installation on one file system.
type crashCase struct {
	name string
	// run on the host before, to make the image that is there; none: the image is the base
	prior  []string
	absent bool     // there is no image yet
	run    []string // what the guest runs, the images' names without their directory last
	full   bool     // the file system has no room for a second copy
	bad    bool     // does not keep the promise: what is compared with
	brief  bool     // part of the ordinary run, on vfat
}

func crashCases() []crashCase {
	install := func(args ...string) []string {
		return append([]string{"install", "-base", "/base"},
			args...)
	}
	inPlace := func(args ...string) []string {
		return append([]string{"in-place", "-base", "/base"},
			args...)
	}
	return []crashCase{
		{name: "first", run: install("new", "3000", "initrd"), brief: true},
		{
			name: "shorter", prior: install("old", "90000", "initrd"),
			run: install("new", "3000", "initrd"),
		},
		{name: "equal", prior: install("old", "3000", "initrd"), run: install("new", "3000", "initrd")},
		{
			name: "longer", prior: install("old", "3000", "initrd"), run: install("new", "90000", "initrd"),
			brief: true,
		},
		{
			name: "unchanged", prior: install("old", "3000", "initrd"),
			run: install("old", "3000", "initrd"),
		},
		{
			name: "remove", prior: install("old", "3000", "initrd"),
			run: []string{"remove", "-base", "/base", "initrd"},
		},
		{name: "create", absent: true, run: install("new", "3000", "initrd"), brief: true},
		{
			name: "two", prior: install("old", "3000", "initrd", "second"),
			run: install("new", "5000", "initrd", "second"),
		},

		{name: "inplace-first", run: inPlace("new", "5000", "initrd"), full: true, brief: true},
		{
			name: "inplace-shorter", prior: install("old", "20000", "initrd"),
			run: inPlace("new", "3000", "initrd"), full: true, brief: true,
		},
		{
			name: "inplace-equal", prior: install("old", "3000", "initrd"),
			run: inPlace("new", "3000", "initrd"), full: true,
		},
		{
			name: "inplace-longer", prior: install("old", "3000", "initrd"),
			run: inPlace("new", "20000", "initrd"), full: true, brief: true,
		},
		{
			name: "inplace-remove", prior: install("old", "20000", "initrd"),
			run: []string{"remove-in-place", "-base", "/base", "initrd"}, full: true,
		},

		{
			name: "rename-first", run: []string{"rename-once", "new", "3000", "initrd"}, bad: true,
			brief: true,
		},
		{
			name: "rename-longer", prior: install("old", "3000", "initrd"),
			run: []string{"rename-once", "new", "90000", "initrd"}, bad: true,
		},
		{name: "append-first", run: []string{"append", "new", "20000", "initrd"}, bad: true, brief: true},
		{
			name: "append-second", prior: install("old", "3000", "initrd"),
			run: []string{"append", "new", "90000", "initrd"}, bad: true,
		},
	}
}

// on tells whether a case is run on a file system.
func (c crashCase) on(system fileSystem) bool {
	switch {
	case c.full && system.shares:
		return false
	case long() || system.kind == "vfat" && c.brief:
		return true
	}
	return c.name == "first" || c.name == "inplace-longer"
}

func (c crashCase) inPlace() bool { return strings.HasSuffix(c.run[0], "in-place") }

// crashDisk is one case on one file system while it is being examined.
type crashDisk struct {
	crashCase
	fileSystem
	// in a guest; the serial number of a virtio disk has room for 20 bytes
	id             string
	dir            string            // of its own, on the host
	old, new       map[string][]byte // the images, by name; nil when there is none
	anew           map[string][]byte // what the next run makes of a torn one, where it has room
	judged         map[string]int    // states by verdict
	states         int
	random         *rand.Rand
	kept           []string // copies of some states
	installer, pri string   // programs and files on the host: the installer, the pristine base
}

func (d *crashDisk) title() string  { return d.fileSystem.name + "-" + d.crashCase.name }
func (d *crashDisk) disk() string   { return filepath.Join(d.dir, "disk") }
func (d *crashDisk) before() string { return filepath.Join(d.dir, "before") }
func (d *crashDisk) log() string    { return filepath.Join(d.dir, "log") }

// disksPerGuest is fewer than the slots that the guest's PCI bus has.
const disksPerGuest = 20

func TestPowerCut_imageIsOldOrNew(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.vfat", "mcopy", "fsck.vfat", "mkfs.ext4", "e2fsck", "debugfs", "mkfs.xfs",
		"mkfs.btrfs")
	installer := guestProgram(t, "installer")
	base := filepath.Join(t.TempDir(), "base")
	var content vm.Tree
	content.File("/etc/of-the-base", 0o644, randomBytes(300_000))
	if err := os.WriteFile(base, compress(t, "zstd", archive(t, &content)), 0o600); err != nil {
		t.Fatal(err)
	}

	systems := []fileSystem{vfat("16", 16), ext4(), xfs(), btrfs()}
	if long() {
		systems = slices.Insert(systems, 1, vfat("32", 40))
	}
	var disks []*crashDisk
	for _, system := range systems {
		if err := system.unmountable(t); err != nil {
			t.Run(system.name, func(t *testing.T) { t.Skip(err) })
			continue
		}
		for _, c := range crashCases() {
			if !c.on(system) {
				continue
			}
			d := &crashDisk{
				id: fmt.Sprint("disk", len(disks)), crashCase: c, fileSystem: system,
				dir: t.TempDir(), judged: map[string]int{}, random: rand.New(rand.NewPCG(3, 4)),
				installer: installer, pri: base,
			}
			d.prepare(t)
			disks = append(disks, d)
		}
	}
	for part := range slices.Chunk(disks, disksPerGuest) {
		inGuest(t, k, part, (*crashDisk).disk, true)
	}
	for _, d := range disks {
		t.Run(d.title(), d.examine)
	}
	t.Run("next run", func(t *testing.T) { nextRuns(t, k, disks) })
	t.Run("page", func(t *testing.T) { comparePage(t, disks) })
}

// randomBytes cannot be compressed, and are the same in every run.
func randomBytes(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

// onHost runs an installer's command line in a directory of the host, where there is room.
func (d *crashDisk) onHost(dir string, args []string) error {
	words := slices.Clone(args)
	for i, w := range words {
		switch {
		case w == "/base":
			words[i] = d.pri
		case slices.Contains(cutImages, w):
			words[i] = filepath.Join(dir, w)
		}
	}
	words[0] = map[string]string{"in-place": "install", "remove-in-place": "remove"}[words[0]]
	if words[0] == "" {
		words[0] = args[0]
	}
	_, err := vm.Output(exec.Command(d.installer, words...))
	return err
}

func (d *crashDisk) images() []string {
	if d.crashCase.name == "two" {
		return cutImages
	}
	return cutImages[:1]
}

// prepare makes the disk, and on the host the images that should be there before and after.
func (d *crashDisk) prepare(t *testing.T) {
	t.Helper()
	pristine, err := os.ReadFile(d.pri)
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
		if err := d.onHost(work, d.prior); err != nil {
			t.Fatal(err)
		}
	}
	d.old = read()
	for name, data := range d.old {
		tree.File(name, 0o600, data)
	}
	if err := d.onHost(work, d.run); err != nil {
		t.Fatal(err)
	}
	d.new, d.anew = read(), read()
	for name, data := range d.new {
		// In place nothing becomes shorter, but where a file system truncates in order.
		if less := len(d.old[name]) - len(data); d.inPlace() && less > 0 &&
			(d.kind == "vfat" || d.run[0] == "in-place") {
			d.new[name] = append(data, make([]byte, less)...)
		}
	}
	d.fileSystem.make(t, &tree, d.disk(), d.full)
	if err := copySparse(d.disk(), d.before()); err != nil {
		t.Fatal(err)
	}
}

// inGuest boots one guest that has all the disks and runs each one's installation. It powers off at
// once, so that what a disk holds then is what the installation itself has made sure of. Of the
// file that disk names every write is recorded, if that is wanted.
func inGuest(t *testing.T, k vm.Kernel, disks []*crashDisk, disk func(*crashDisk) string,
	record bool,
) {
	t.Helper()
	var script strings.Builder
	var args, modules []string
	for _, d := range disks {
		if record {
			if err := os.WriteFile(d.log(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, vm.LoggedDisk(d.id, disk(d), d.log())...)
		} else {
			args = append(args, "-drive", "format=raw,if=none,id="+d.id+",file="+disk(d),
				"-device", "virtio-blk-pci,drive="+d.id+",serial="+d.id)
		}
		words := slices.Clone(d.run)
		for i, w := range words {
			if slices.Contains(cutImages, w) {
				words[i] = "/mnt/" + d.id + "/" + w
			}
		}
		fmt.Fprintf(&script, "try %s %s %s\n", d.id, d.kind, strings.Join(words, " "))
		modules = append(modules, d.modules...)
	}
	root := &vm.Tree{}
	root.Busybox()
	slices.Sort(modules)
	paths, err := k.AddModules(root, append([]string{"virtio_pci", "virtio_blk"},
		slices.Compact(modules)...)...)
	if err != nil {
		t.Fatal(err)
	}
	root.Copy("/installer", disks[0].installer)
	root.Copy("/base", disks[0].pri)
	root.File("/init", 0o755, []byte(vm.Prelude+`
for m in `+strings.Join(paths, " ")+`; do insmod $m || result $m fail; done
try() {
  serial=$1 kind=$2; shift 2
  for disk in /sys/block/vd*; do [ "$(cat $disk/serial)" = $serial ] && dev=/dev/${disk##*/}; done
  mkdir -p /mnt/$serial
  dmesg -c > /before
  mount -t $kind $dev /mnt/$serial || { result $serial fail mount; return; }
  if ! out=$(/installer "$@" 2>&1); then result $serial fail "$out"; return; fi
  if out=$(dmesg | grep -i error); then result $serial fail "$out"; return; fi
  result $serial ok
}
`+script.String()+`
echo DONE
poweroff -n -f
`))
	rep := boot(t, vm.Machine{
		Kernel: k, Initrd: writeImage(t, archive(t, root)), Memory: 512,
		Append: "quiet", Args: args,
	})
	if !rep.Done {
		t.Fatal("the guest did not come to its end")
	}
	for _, d := range disks {
		if res := rep.Results[d.id]; !res.OK {
			t.Errorf("%s: %s", d.title(), res.Detail)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// examine judges every state.
func (d *crashDisk) examine(t *testing.T) {
	epochs, err := vm.ReadLog(d.log())
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, e := range epochs {
		writes += len(e)
	}
	samples := 8
	switch {
	case long() && d.kind == "vfat":
		samples = 400
	case long():
		samples = 64 // each costs a mount, or a replay
	}
	// File systems with a journal have superblocks of several sectors, which is why disks write 4 KiB
	// as a whole.
	unit := 4096
	if d.kind == "vfat" {
		unit = 512
	}
	state := d.before()
	seen := map[[32]byte]string{}
	err = vm.Replay(state, epochs, samples, unit, rand.New(rand.NewPCG(1, 2)),
		func(key [32]byte, final bool) error {
			verdict, known := seen[key]
			if !known {
				verdict = d.judge(t, state)
				seen[key] = verdict
				d.judged[verdict]++
				d.states++
				if err := d.keep(state); err != nil {
					return err
				}
			}
			switch {
			case d.bad:
			case verdict != "old" && verdict != "new" && (verdict != "torn" || !d.inPlace()):
				t.Errorf("a state in which the image is %s", verdict)
			case final && verdict != "new":
				t.Errorf("after the installation had returned, a state in which the image is %s", verdict)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-23s %3d writes in %2d epochs; states %4d: %v", d.title(), writes, len(epochs), d.states,
		d.judged)
	switch {
	case d.bad && d.kind != "vfat":
	case d.bad && d.run[0] == "rename-once" && d.judged["lost"] == 0:
		// What is lost there is the reason for the second sync; where nothing is, the judge sees nothing
		// either.
		t.Error("no state in which an image that was only renamed is lost")
	case d.bad && d.run[0] == "append" && d.judged["half"]+d.judged["torn"]+d.judged["check"] == 0:
		t.Error("no state in which what was only appended is torn")
	case d.bad:
	case d.judged["new"] == 0 || d.judged["old"] == 0 && d.crashCase.name != "unchanged":
		t.Error("the states do not go from the old image to the new one: what was recorded is not an " +
			"installation")
	}
}

// verdicts are what the image of a state can be, the worst last. Several images may be old and new,
// each for itself; the worst counts.
//
//	torn    the base is whole; of what follows it the kernel uses no file, or only whole
//	        ones, and the next run makes the new image of it
//	half    the base is whole; the kernel would use a file of which a part is missing
//	check   the same, but the file's size and its clusters differ until the file system was checked
//	lost    gone, not readable, or not even the base
var verdicts = []string{"new", "old", "torn", "half", "check", "lost"}

// judge says what the images of a state are.
func (d *crashDisk) judge(t *testing.T, state string) string {
	verdict := verdicts[0]
	dir, err := os.MkdirTemp(d.dir, "judge-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range d.images() {
		v := d.judgeImage(t, state, dir, name)
		if slices.Index(verdicts, v) > slices.Index(verdicts, verdict) {
			verdict = v
		}
	}
	return verdict
}

func (d *crashDisk) judgeImage(t *testing.T, state, dir, name string) string {
	into := filepath.Join(dir, name)
	old, had := d.old[name]
	err := d.read(state, name, into)
	check := err != nil && d.kind == "vfat" && !errors.Is(err, fs.ErrNotExist) &&
		d.mends(state, name, into)
	data, readErr := os.ReadFile(into)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !had:
		return "old"
	case err != nil && !check || readErr != nil:
		return "lost"
	case !check && bytes.Equal(data, d.new[name]):
		return "new"
	case !check && had && bytes.Equal(data, old):
		return "old"
	}
	pristine, err := os.ReadFile(d.pri)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !bytes.HasPrefix(data, pristine):
		return "lost"
	case check:
		return "check"
	case d.half(data, len(pristine), name):
		return "half"
	case d.bad || !whole(t, data) && d.repairs(t, dir, name):
		return "torn"
	}
	return "lost"
}

// whole reports whether an image ends in a whole segment.
func whole(t *testing.T, image []byte) bool {
	i, err := initrd.NewImage(bytes.NewReader(image), int64(len(image)))
	return err == nil && i.Verify(t.Context(), nil) == nil
}

// half reports whether the kernel would make a file of what follows the base that is not the one of
// the old or the new image.
func (d *crashDisk) half(image []byte, base int, name string) bool {
	whole := append(unpackedKeys(d.old[name], base), unpackedKeys(d.new[name], base)...)
	return slices.ContainsFunc(unpackedKeys(image, base), func(content []byte) bool {
		return !slices.ContainsFunc(whole, func(w []byte) bool { return bytes.Equal(w, content) })
	})
}

// unpackedKeys goes through plain archives behind a base as the kernel does (init/initramfs.c) and
// returns the content of the secrets. One of which the end is missing has its full size, filled up
// with NULs.
func unpackedKeys(data []byte, base int) [][]byte {
	const headerBytes = 110
	align := func(n int) int { return (n + 3) &^ 3 }
	var keys [][]byte
	for at := base; at < len(data); {
		if data[at] == 0 {
			at++
			continue
		}
		header := data[at:]
		if at%4 != 0 || len(header) < headerBytes || string(header[:6]) != "070701" {
			break
		}
		size, err1 := strconv.ParseUint(string(header[54:62]), 16, 32)
		nameBytes, err2 := strconv.ParseUint(string(header[94:102]), 16, 12)
		start := at + align(headerBytes+int(nameBytes))
		if err1 != nil || err2 != nil || start > len(data) {
			break
		}
		if name := string(header[headerBytes:][:nameBytes]); name == ".initrd-secrets/key\x00" {
			content := make([]byte, size)
			copy(content, data[start:])
			keys = append(keys, content)
		}
		at = start + align(int(size))
	}
	return keys
}

// mends reads an image from a copy of the state that was checked as at the next boot.
func (d *crashDisk) mends(state, name, into string) bool {
	mended := into + ".disk"
	if copySparse(state, mended) != nil {
		return false
	}
	var exit *exec.ExitError // 1: something was mended
	if err := exec.Command("fsck.vfat", "-a", "-w", mended).Run(); err != nil &&
		(!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return false
	}
	return os.RemoveAll(into) == nil && d.read(mended, name, into) == nil
}

// repairs reports whether the next run makes the new image of a torn one.
func (d *crashDisk) repairs(t *testing.T, dir, name string) bool {
	t.Helper()
	if err := d.onHost(dir, d.run); err != nil {
		t.Errorf("the run after the power cut: %v", err)
		return false
	}
	repaired, err := os.ReadFile(filepath.Join(dir, name))
	return err == nil && bytes.Equal(repaired, d.anew[name])
}

// keep copies some of the states of a full vfat disk, as many of each part of the installation.
func (d *crashDisk) keep(state string) error {
	if d.kind != "vfat" || !d.inPlace() {
		return nil
	}
	at := len(d.kept)
	limit := 3
	if long() {
		limit = 6
	}
	if at == limit {
		if at = d.random.IntN(d.states); at >= limit {
			return nil
		}
	} else {
		d.kept = append(d.kept, filepath.Join(d.dir, fmt.Sprint("state", at)))
	}
	return copySparse(state, d.kept[at])
}

// The next run after a power cut, on the very disk and by the kernel's own vfat: it makes the new
// image, and the kernel finds no fault in the file system though nothing has checked it. There is
// one exception, which nobody who lets a file on vfat grow can avoid: the file's last cluster names
// one that is not marked as used, since the sectors of the table that say so are written in any
// order. Then the file is checked before, as it is when the machine boots.
func nextRuns(t *testing.T, k vm.Kernel, disks []*crashDisk) {
	var again []*crashDisk
	for _, d := range disks {
		for i, state := range d.kept {
			next := *d
			next.fileSystem.name += fmt.Sprintf("-%d", i)
			next.id = fmt.Sprint("disk", len(again))
			next.kept = []string{state}
			again = append(again, &next)
		}
	}
	for _, d := range again {
		if out, _ := exec.Command("fsck.vfat", "-n", d.kept[0]).CombinedOutput(); bytes.Contains(out,
			[]byte("free cluster")) {
			t.Logf("%s: checked before the next run", d.title())
			if len(d.old["initrd"]) >= len(d.new["initrd"]) {
				t.Errorf("%s: the file did not grow\n%s", d.title(), out)
			}
			_ = exec.Command("fsck.vfat", "-a", "-w", d.kept[0]).Run() // 1: something was mended
		}
	}
	for part := range slices.Chunk(again, disksPerGuest) {
		inGuest(t, k, part, func(d *crashDisk) string { return d.kept[0] }, false)
		for _, d := range part {
			for _, name := range d.images() {
				into := filepath.Join(t.TempDir(), name)
				err := d.read(d.kept[0], name, into)
				data, readErr := os.ReadFile(into)
				if err != nil || readErr != nil || !bytes.Equal(data, d.new[name]) {
					t.Errorf("%s: image of %d bytes after the next run, want %d: %v", d.title(), len(data),
						len(d.new[name]), err)
				}
			}
		}
	}
}
