package vmtests

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// The tests of this file cut the power at any moment of a whole switch on a machine that goes on
// with what is on its disks: one boots what the former left, and switches again.

// switchSeedEnv names the seed of the moments: that of a run that failed, to repeat it.
const switchSeedEnv = "VMTEST_SEED"

// switchGenerations take turns: the machine switches from the one that it runs to the next, and
// both stay in the menu.
const switchGenerations = 3

// switchHost is a machine with an ESP, a store, and a disk for what has to stay (its key, and the
// record of what was installed).
type switchHost struct {
	kernel           vm.Kernel
	store, state     string
	esp, menuDir     string
	initrd           [switchGenerations + 1]string // of each generation, as the build made it
	image            [switchGenerations + 1][]byte // what the hook makes of it
	value, activated [switchGenerations + 1][]byte
	steps            []switchStep // of an undisturbed switch
}

// switchStep is a step of a switch, and how long it took.
type switchStep struct {
	name string
	took time.Duration
}

// A cut comes so long after a step has begun, counted from 0.
type moment struct {
	step  int
	after time.Duration
}

// anyMoment picks one: every step alike, since the short ones are those that matter, and up to a
// little after its end.
func (h *switchHost) anyMoment(random *rand.Rand) moment {
	step := random.IntN(len(h.steps))
	return moment{step, time.Duration(random.Float64() * 1.1 * float64(h.steps[step].took))}
}

const switchParameters = "console=ttyS0 no_timer_check panic=-1 quiet"

// switchMount are the options of the ESP's mount. Without dirsync, nixpkgs' builder itself can lose
// the whole menu: it renames each entry over the older one, and the next flush of any file brings
// to the disk that the older one's clusters are free, but not what the directory leads to now,
// which comes at the end, when the file system is flushed (Linux, fs/fat/file.c).
const switchMount = "umask=0077,dirsync"

// switchPlain is what a kernel parameter asks for: a mount without dirsync.
const switchPlain = "plain-mount"

// switchInit is the init of all generations: it says what it was given, then switches to the next
// generation.
func switchInit(modules []string) string {
	return vm.Prelude + `
options=` + switchMount + `
for m in ` + strings.Join(modules, " ") + `; do insmod $m || result $m fail; done
for word in $(cat /proc/cmdline); do case $word in init=/nix/*) g=${word#init=/nix/}; g=${g%/init};; next=*) next=${word#next=};; ` + switchPlain + `) options=umask=0077;; esac; done
result generation ok $g
describe ` + luksKey + `
mkdir -p /nix /boot /state
mount -t ext4 -o ro /dev/vda /nix
mount -t ext4 /dev/vdb /state
fsck.vfat -a /dev/vdc > /run/fsck; result fsck ok $?
mount -t vfat -o $options /dev/vdc /boot
[ "$next" ] || next=$((g % ` + strconv.Itoa(switchGenerations) + ` + 1))
echo SWITCH
PARAMETERS="` + switchParameters + `" /nix/switcher /boot /nix $next $g
echo SWITCHED
describe /run/secrets/password
umount /boot /state
finish
`
}

func newSwitchHost(t *testing.T, k vm.Kernel) *switchHost {
	t.Helper()
	h := &switchHost{kernel: k, menuDir: t.TempDir()}
	dir := t.TempDir()

	var root, store, state vm.Tree
	root.Busybox()
	root.Program("fsck.vfat")
	for _, name := range []string{"sops-initrd", "sops-install-secrets"} {
		root.Libraries(program(t, name))
		store.Copy("/"+name, program(t, name))
	}
	modules, err := k.AddModules(&root, "virtio_pci", "virtio_blk", "vfat", "nls_ascii", "nls_cp437",
		"nls_iso8859-1")
	if err != nil {
		t.Fatal(err)
	}
	root.File("/init", 0o755, []byte(switchInit(modules)))
	root.File("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\n"))
	root.File("/etc/group", 0o644, []byte("root:x:0:\nkeys:x:96:\n"))
	store.Copy("/switcher", guestProgram(t, "switcher"))
	store.Copy("/kernel", k.Image)
	const key = "AGE-SECRET-KEY-16M0N0NX0LR7053SNXLXA8HFME07Q7P4SFKZ7WRYV6Z0H640PN76SS5P37M\n"
	state.File("/key.txt", 0o600, []byte(key))
	keyFile := filepath.Join(dir, "key.txt")
	writeFile(t, keyFile, 0o600, []byte(key))
	for g := 1; g <= switchGenerations; g++ {
		h.generation(t, g, keyFile, &root, &store)
	}
	h.store, h.state, h.esp = filepath.Join(dir, "store"), filepath.Join(dir, "state"),
		filepath.Join(dir, "esp")
	if err := vm.MakeExt4(t.Context(), &store, h.store, 128); err != nil {
		t.Fatal(err)
	}
	ext4().make(t, &state, h.state, false)
	var esp vm.Tree
	esp.Copy("/EFI/BOOT/BOOTX64.EFI", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
	if err := vm.MakeFAT(t.Context(), &esp, h.esp, 64); err != nil {
		t.Fatal(err)
	}
	return h
}

// generation makes a generation's secrets, what its build puts into the store, and, on this
// machine, the image that its hook has to make.
func (h *switchHost) generation(t *testing.T, g int, key string, root, store *vm.Tree) {
	t.Helper()
	dir := t.TempDir()
	h.value[g], h.activated[g] = fmt.Appendf(nil, "key file of generation %d ", g),
		fmt.Appendf(nil, "password of generation %d", g)
	h.value[g] = append(h.value[g], randomBytes(30_000 * g)[20_000*(g-1):]...)
	root.File("/generation", 0o644, []byte(strconv.Itoa(g)))
	h.initrd[g] = writeImage(t, compress(t, "zstd", archive(t, root)))
	store.Copy(fmt.Sprintf("/%d/initrd", g), h.initrd[g])

	encrypt := func(name, kind string, plain []byte) {
		cmd := exec.Command("go", "tool", "sops", "encrypt", "--age",
			"age1cv92ayum8a9242xal4d7rtzns9s4gfzh3jrx64khjvk5tv06n3psx9ld33",
			"--input-type", kind, "--output-type", "json", "--filename-override", name, "/dev/stdin")
		cmd.Stdin = bytes.NewReader(plain)
		writeFile(t, filepath.Join(dir, name), 0o444, run(t, cmd))
		store.Copy(fmt.Sprintf("/%d/%s", g, name), filepath.Join(dir, name))
	}
	encrypt("luks.key", "binary", h.value[g])
	encrypt("secrets.json", "json", fmt.Appendf(nil, `{"password": %q}`, h.activated[g]))
	manifests := func(in, key string) (initrd, activation []byte) {
		luks := map[string]any{
			"name": "luks", "key": "", "sopsFile": in + "/luks.key",
			"format": "binary",
		}
		password := map[string]any{"name": "password", "key": "password", "sopsFile": in +
			"/secrets.json", "format": "json", "path": "/run/secrets/password", "mode": "0400"}
		initrd, err := json.Marshal(map[string]any{
			"version": 1, "ageKeyFile": key, "secrets": []any{luks},
			"entries": []any{map[string]any{"path": "/etc/luks.key", "secret": "luks"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		activation, err = json.Marshal(map[string]any{
			"version": 1, "ageKeyFile": key, "secrets": []any{password},
			"secretsMountPoint": "/run/secrets.d", "symlinkPath": "/run/secrets", "keepGenerations": 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return initrd, activation
	}
	initrd, activation := manifests(fmt.Sprintf("/nix/%d", g), "/state/key.txt")
	store.File(fmt.Sprintf("/%d/manifest-initrd.json", g), 0o444, initrd)
	store.File(fmt.Sprintf("/%d/manifest.json", g), 0o444, activation)
	store.File(fmt.Sprintf("/%d/append-initrd-secrets", g), 0o555, fmt.Appendf(nil,
		"#!/bin/sh\nexec /nix/sops-initrd append --manifest /nix/%d/manifest-initrd.json --base "+
			"/nix/%d/initrd --state /state/record -- \"$1\"\n", g, g))

	here, _ := manifests(dir, key)
	writeFile(t, filepath.Join(dir, "manifest-initrd.json"), 0o600, here)
	image := filepath.Join(dir, "image")
	base, err := os.ReadFile(h.initrd[g])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, image, 0o600, base)
	run(t, exec.Command(program(t, "sops-initrd"), "append", "--manifest",
		filepath.Join(dir, "manifest-initrd.json"), "--base", h.initrd[g],
		"--state", filepath.Join(dir, "state"), "--", image))
	if h.image[g], err = os.ReadFile(image); err != nil {
		t.Fatal(err)
	}
}

func (h *switchHost) disks() []string {
	return append(append(vm.Virtio(h.store), vm.Virtio(h.state)...), vm.Virtio(h.esp)...)
}

// entry is what the loader would start: what an entry names, as far as it can be read.
type entry struct {
	generation int
	whole      bool // its image is that of the generation, with its secrets, and its kernel is there
	image      string
}

// menu reads the ESP as it is, without a check of the file system before: a firmware has none.
func (h *switchHost) menu(t *testing.T, esp string) (entries map[int]entry, chosen int) {
	t.Helper()
	dir := h.menuDir // one place for all states: they are many
	read := func(name string) []byte {
		into := filepath.Join(dir, "file")
		_ = os.Remove(into)
		if err := vfat("", 0).read(esp, name, into); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Logf("%s cannot be read: %v", name, err)
			}
			return nil
		}
		data, err := os.ReadFile(into)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	kernel, err := os.ReadFile(h.kernel.Image)
	if err != nil {
		t.Fatal(err)
	}
	entries = map[int]entry{}
	for g := 1; g <= switchGenerations; g++ {
		conf := read(fmt.Sprintf("loader/entries/nixos-generation-%d.conf", g))
		if conf == nil {
			continue
		}
		e := entry{generation: g, image: filepath.Join(dir, fmt.Sprintf("image-%d", g))}
		image := read(fmt.Sprintf("EFI/nixos/%d-initrd.efi", g))
		e.whole = bytes.Contains(conf, fmt.Appendf(nil, "initrd /EFI/nixos/%d-initrd.efi\n", g)) &&
			bytes.HasSuffix(conf, []byte(switchParameters+"\n")) &&
			bytes.Equal(image, h.image[g]) && bytes.Equal(read("EFI/nixos/0-kernel.efi"), kernel)
		writeFile(t, e.image, 0o600, image)
		entries[g] = e
	}
	match := regexp.MustCompile(`(?m)^default nixos-generation-(\d)\.conf$`).FindSubmatch(
		read("loader/loader.conf"))
	if match != nil {
		chosen, _ = strconv.Atoi(string(match[1]))
	}
	return entries, chosen
}

// machine boots an entry as the loader would, the real one where there is time for it.
func (h *switchHost) machine(e entry, loader bool, next int) vm.Machine {
	if loader {
		return vm.Machine{
			Kernel: h.kernel, Firmware: "uefi", Memory: 512, Args: h.disks(),
			Timeout: loaderTimeout,
		}
	}
	return vm.Machine{
		Kernel: h.kernel, Initrd: e.image, Memory: 512, Args: h.disks(),
		Append: fmt.Sprintf("quiet init=/nix/%d/init next=%d", e.generation, next),
	}
}

// firstSwitches installs two generations and lets the switches come to their end: they say how long
// one takes here.
func (h *switchHost) firstSwitches(t *testing.T) {
	t.Helper()
	for g := range 2 {
		e := entry{generation: 1, image: writeImage(t, h.image[1])}
		m := h.machine(e, false, g+1)
		var began time.Time
		m.OnLine = func(line string) {
			name, isStep := strings.CutPrefix(line, "STEP ")
			if last := len(h.steps) - 1; (isStep || line == "SWITCHED") && last >= 0 {
				h.steps[last].took = time.Since(began)
			}
			switch {
			case line == "SWITCH":
				h.steps = nil
			case isStep:
				h.steps = append(h.steps, switchStep{name: name})
				began = time.Now()
			}
		}
		rep := boot(t, m)
		expect(t, rep, map[string]string{
			"generation": "1", luksKey: regular(0o400, 0, 0, h.value[1]), "fsck": "0",
			"/run/secrets/password": regular(0o400, 0, 0, h.activated[g+1]),
		})
	}
	entries, chosen := h.menu(t, h.esp)
	if len(entries) != 2 || !entries[1].whole || !entries[2].whole || chosen != 2 {
		t.Fatalf("after whole switches: menu %+v, default %d", entries, chosen)
	}
}

func TestPowerCut_wholeSwitch(t *testing.T) {
	k := testKernel(t)
	need(t, "mkfs.vfat", "fsck.vfat", "mcopy", "mkfs.ext4", "zstd")
	h := newSwitchHost(t, k)
	h.firstSwitches(t)
	if t.Failed() {
		return
	}
	cuts, seed := 5, uint64(1)
	if long() {
		cuts = 50
	}
	if text := os.Getenv(switchSeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", switchSeedEnv, err)
		}
	}
	t.Logf("seed %d (%s)", seed, switchSeedEnv)
	for i, step := range h.steps {
		t.Logf("step %2d takes %4d ms here: %s", i, step.took.Milliseconds(), step.name)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	previous, next := 1, 2 // what the last switch went from and to
	found := map[string]int{}
	for done := 0; done <= cuts; done++ {
		chosen, verdict := h.judge(t, previous, next)
		if done > 0 {
			found[verdict]++
		}
		// The real loader chooses by itself; what it would not choose is started without it.
		loader := verdict != "previous, by hand" && done%5 == 0
		previous, next = chosen, chosen%switchGenerations+1
		at := h.anyMoment(random)
		if done == cuts {
			at.step = len(h.steps) + 1 // never: the last switch comes to its end
		}
		rep, step := h.cut(t, chosen, loader, at, "")
		t.Logf("after %2d cuts: %s, generation %d%s; switch to %d, cut %4d ms into step %2d (%s)", done,
			verdict, chosen,
			map[bool]string{true: ", started by systemd-boot"}[loader], next, at.after.Milliseconds(),
			at.step, step)
		for name, detail := range map[string]string{
			"generation": strconv.Itoa(chosen),
			luksKey:      regular(0o400, 0, 0, h.value[chosen]),
		} {
			if got := rep.Results[name]; got.Detail != detail {
				t.Fatalf("after %d cuts: %s: %q, want %q\n%s", done, name, got.Detail, detail, rep.Console)
			}
		}
	}
	t.Logf("%d cuts: %v", cuts, found)
	h.search(t)
	if long() && (found["new"] == 0 || found["previous"] == 0) {
		t.Error("the cuts do not reach from before the new generation to behind it")
	}
}

// search looks for values after all: on the ESP they may be in the installed images and in what
// killed runs and replaced images left in clusters that are free now, which vfat does not
// overwrite, or that belonged to no file when the power was cut: of those fsck.vfat -a, which runs
// before every mount, makes files. They may be in no other file, and on the other disks nowhere.
func (h *switchHost) search(t *testing.T) {
	t.Helper()
	values := map[string][]byte{}
	for g := 1; g <= switchGenerations; g++ {
		values[fmt.Sprintf("key file of generation %d", g)],
			values[fmt.Sprintf("password of generation %d", g)] = h.value[g], h.activated[g]
	}
	noPlaintext(t, h.store, values)
	noPlaintext(t, h.state, values)
	entries, _ := h.menu(t, h.esp)
	var may []vm.Extent
	for g := range entries {
		image, err := vm.FATExtents(t.Context(), h.esp, fmt.Sprintf("/EFI/nixos/%d-initrd.efi", g))
		if err != nil {
			t.Fatal(err)
		}
		may = append(may, image...)
	}
	// "::/FSCK0000.REC"
	listing, err := vm.Output(exec.CommandContext(t.Context(), "mdir", "-b", "-i", h.esp, "::"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`(?m)^::(/FSCK[0-9]+\.REC)$`).FindAllSubmatch(listing,
		-1) {
		t.Logf("the check of the file system made %s", name[1])
		found, err := vm.FATExtents(t.Context(), h.esp, string(name[1]))
		if err != nil {
			t.Fatal(err)
		}
		may = append(may, found...)
	}
	left, err := vm.FindPlaintext(h.esp, values, may...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d values in free clusters of the ESP", len(left))
	free, err := vm.FATFree(h.esp)
	if err != nil {
		t.Fatal(err)
	}
	noPlaintext(t, h.esp, values, append(may, free...)...)
}

// judge says which generation boots now, and whether that is the one from which or to which the
// last switch was.
func (h *switchHost) judge(t *testing.T, previous, next int) (chosen int, verdict string) {
	t.Helper()
	entries, chosen := h.menu(t, h.esp)
	switch {
	case entries[chosen].whole && chosen == previous:
		return chosen, "previous"
	case entries[chosen].whole && chosen == next:
		return chosen, "new"
	case entries[previous].whole:
		return previous, "previous, by hand"
	}
	t.Fatalf("neither generation %d nor %d boots: menu %+v, default %d", previous, next, entries,
		chosen)
	return 0, ""
}

// cut boots a generation, with the loader or as it would, and kills the machine in its switch. It
// returns the step that was being done.
func (h *switchHost) cut(t *testing.T, generation int, loader bool, at moment,
	parameters string,
) (rep *vm.Report, step string) {
	t.Helper()
	entries, _ := h.menu(t, h.esp)
	m := h.machine(entries[generation], loader, generation%switchGenerations+1)
	m.Append += " " + parameters
	steps := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	step = "before the first step"
	m.OnLine = func(line string) {
		switch {
		case line == "SWITCHED":
			step = "after the last step"
		case strings.HasPrefix(line, "SWITCH FAILED"):
			t.Error(line)
		case strings.HasPrefix(line, "STEP "):
			step = strings.TrimPrefix(line, "STEP ")
			if steps == at.step {
				time.AfterFunc(at.after, cancel)
			}
			steps++
		}
	}
	rep, err := m.Boot(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("%v\n%s", err, rep.Console)
	}
	return rep, step
}

// Every write of one switch, as QEMU recorded them: in each state in which the ESP can be between
// two of them there is something to boot. Without dirsync there is not: that is what the option is
// for.
func TestPowerCut_everyWriteOfASwitch(t *testing.T) {
	onlyIf(t, long())
	k := testKernel(t)
	need(t, "mkfs.vfat", "fsck.vfat", "mcopy", "mkfs.ext4", "zstd")
	h := newSwitchHost(t, k)
	h.firstSwitches(t)
	if t.Failed() {
		return
	}
	before, err := os.ReadFile(h.esp)
	if err != nil {
		t.Fatal(err)
	}
	for _, parameter := range []string{"", switchPlain} {
		t.Run(cmp.Or(parameter, switchMount), func(t *testing.T) {
			writeFile(t, h.esp, 0o600, before)
			found := h.everyState(t, before, parameter)
			t.Logf("states: %v", found)
			if found["generation 2"] == 0 || found["generation 3"] == 0 {
				t.Error("the states do not go from one generation to the next: what was recorded is not a " +
					"switch")
			}
			if lost := found["lost"] > 0; lost != (parameter == switchPlain) {
				t.Errorf("states without anything to boot: %v, want %v", lost, !lost)
			}
		})
	}
}

// everyState switches from generation 2 to 3 and counts, after each write, what the loader would
// boot.
func (h *switchHost) everyState(t *testing.T, before []byte,
	parameter string,
) (found map[string]int) {
	t.Helper()
	log, state := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "state")
	writeFile(t, log, 0o600, nil)
	entries, _ := h.menu(t, h.esp)
	m := h.machine(entries[2], false, 3)
	m.Append += " " + parameter
	m.Args = nil // in this order: /dev/vda and so on
	for i, disk := range []string{h.store, h.state} {
		id := fmt.Sprintf("disk%d", i)
		m.Args = append(m.Args, "-drive", "if=none,format=raw,id="+id+",file="+disk, "-device",
			"virtio-blk-pci,drive="+id)
	}
	m.Args = append(m.Args, vm.LoggedDisk("esp", h.esp, log)...)
	expect(t, boot(t, m), map[string]string{"generation": "2", "/run/secrets/password": regular(0o400,
		0, 0, h.activated[3])})
	epochs, err := vm.ReadLog(log)
	if err != nil {
		t.Fatal(err)
	}
	found = map[string]int{}
	writeFile(t, state, 0o600, before)
	err = vm.Replay(state, epochs, 0, 512, nil, func([32]byte, bool) error {
		entries, chosen := h.menu(t, state)
		switch {
		case entries[chosen].whole:
			found[fmt.Sprintf("generation %d", chosen)]++
		case entries[2].whole:
			found["generation 2, by hand"]++
		default:
			found["lost"]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
