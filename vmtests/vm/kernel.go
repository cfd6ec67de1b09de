package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// KernelEnv names the directory of an unpacked kernel package (one that has boot/vmlinuz-* and
// lib/modules), instead of the one that the set-up unpacked.
const KernelEnv = "VMTEST_KERNEL"

// Kernel is an unpacked kernel package.
type Kernel struct {
	Image   string // path of vmlinuz
	Version string // as uname -r prints it
	Modules string // directory lib/modules/VERSION
	Arch    string // as Go names it; amd64 when empty
}

// CacheDir is where the set-up unpacks packages.
func CacheDir() (string, error) {
	if dir := os.Getenv("SOPS_INITRD_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "sops-initrd"), nil
}

// FindKernel looks up the kernel that tests boot: the directory in KernelEnv, else "kernel" in the
// cache.
func FindKernel() (Kernel, error) {
	dir := os.Getenv(KernelEnv)
	if dir == "" {
		cache, err := CacheDir()
		if err != nil {
			return Kernel{}, err
		}
		dir = filepath.Join(cache, "kernel")
	}
	return KernelIn(dir)
}

// FindExtraKernel looks up one of the further kernels that the set-up unpacked, by its suite of
// Debian and its architecture.
func FindExtraKernel(suite, arch string) (Kernel, error) {
	cache, err := CacheDir()
	if err != nil {
		return Kernel{}, err
	}
	return KernelIn(filepath.Join(cache, "kernels", suite+"-"+arch))
}

// KernelIn describes the kernel package unpacked in dir. Debian's packages have lib or, since
// usr-merge, usr/lib, and since 6.17 the image beside the modules.
func KernelIn(dir string) (Kernel, error) {
	var images []string
	for _, pattern := range []string{
		"boot/vmlinuz-*", "lib/modules/*/vmlinuz",
		"usr/lib/modules/*/vmlinuz",
	} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return Kernel{}, err
		}
		if len(images) == 0 {
			images = found
		}
	}
	if len(images) != 1 {
		return Kernel{}, fmt.Errorf("kernel in %s: %d files vmlinuz, want one", dir, len(images))
	}
	k := Kernel{Image: images[0]}
	if name, found := strings.CutPrefix(filepath.Base(k.Image), "vmlinuz-"); found {
		k.Version = name
	} else {
		k.Version = filepath.Base(filepath.Dir(k.Image))
	}
	for _, lib := range []string{"lib", "usr/lib"} {
		modules := filepath.Join(dir, lib, "modules", k.Version)
		if _, err := os.Stat(filepath.Join(modules, "kernel")); err == nil {
			k.Modules = modules
		}
	}
	if k.Modules == "" {
		return Kernel{}, fmt.Errorf("kernel in %s: no modules of %s", dir, k.Version)
	}
	if strings.HasSuffix(k.Version, "-arm64") {
		k.Arch = "arm64"
	}
	return k, nil
}

func (k Kernel) emulator() string {
	if k.Arch == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// Available says why machines with this kernel cannot run here, or nil.
func (k Kernel) Available() error {
	if _, err := exec.LookPath(k.emulator()); err != nil {
		return err
	}
	_, err := os.Stat(k.Image)
	return err
}

// machine returns the arguments that choose board, processor and accelerator.
func (k Kernel) machine() []string {
	if k.Arch == "arm64" {
		return []string{"-machine", "virt", "-cpu", "cortex-a57"}
	}
	if kvmUsable() {
		return []string{"-machine", "pc,accel=kvm", "-cpu", "host"}
	}
	// QEMU 7.2 emulates CMPXCHG16B with wrong flags now and then: kernels from 6.5 on, whose allocator
	// uses it, crash in one boot of five.
	return []string{"-machine", "pc,accel=tcg", "-cpu", "max,cx16=off"}
}

// kvmUsable asks for the processor's flags as well: in a virtual machine without nested
// virtualisation /dev/kvm may be there and let guests hang. VMTEST_ACCEL=kvm or =tcg decides where
// this guesses wrong.
func kvmUsable() bool {
	if accel := os.Getenv("VMTEST_ACCEL"); accel != "" {
		return accel == "kvm"
	}
	if unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) != nil {
		return false
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	for flag := range strings.FieldsSeq(string(cpuinfo)) {
		if flag == "vmx" || flag == "svm" {
			return true
		}
	}
	return false
}

func (k Kernel) console() string {
	if k.Arch == "arm64" {
		return "ttyAMA0"
	}
	return "ttyS0"
}

// AddBusybox adds a static busybox that runs on the kernel, with links as Tree.Busybox has them.
func (k Kernel) AddBusybox(t *Tree) {
	root, foreign := k.sysroot()
	if !foreign {
		t.Busybox()
		return
	}
	root.Add(t, "/usr/bin/busybox")
	t.applets("/usr/bin/")
}

// AddProgram adds a program that runs on the kernel, with its libraries: the host's own, or one of
// the userland that the set-up unpacked for another architecture.
func (k Kernel) AddProgram(t *Tree, name string) {
	root, foreign := k.sysroot()
	if !foreign {
		t.Program(name)
		return
	}
	for _, dir := range []string{"/usr/bin/", "/usr/sbin/"} {
		if _, err := os.Stat(filepath.Join(string(root), dir, name)); err == nil {
			root.Add(t, dir+name)
			return
		}
	}
	t.fail(fmt.Errorf("program %s: %w in %s", name, fs.ErrNotExist, root))
}

// sysroot is where programs for the kernel come from when they are not the host's.
func (k Kernel) sysroot() (root Sysroot, foreign bool) {
	cache, err := CacheDir()
	if k.Arch == "" || k.Arch == runtime.GOARCH || err != nil {
		return "", false
	}
	return Sysroot(filepath.Join(cache, "guest-"+k.Arch)), true
}

// AddModules puts the named modules and what they need into the tree below /modules, and returns
// their paths there in the order in which insmod takes them. A module that is built into the kernel
// is left out. Compressed modules are unpacked: neither busybox nor older kernels can.
func (k Kernel) AddModules(t *Tree, names ...string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(k.Modules, "kernel"),
		func(path string, _ fs.DirEntry, err error) error {
			if name, _, found := strings.Cut(filepath.Base(path), ".ko"); found {
				files[moduleName(name)] = path
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(k.Modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(builtin)) {
		name := strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")
		if _, found := files[moduleName(name)]; !found {
			files[moduleName(name)] = ""
		}
	}

	var order []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		path, known := files[name]
		if !known {
			return fmt.Errorf("module %q: not in %s", name, k.Modules)
		}
		if seen[name] || path == "" {
			return nil
		}
		seen[name] = true
		data, err := readModule(path)
		if err != nil {
			return fmt.Errorf("module %q: %w", name, err)
		}
		needs, err := moduleNeeds(data)
		if err != nil {
			return fmt.Errorf("module %q: %w", name, err)
		}
		for _, need := range needs {
			if err := add(need); err != nil {
				return err
			}
		}
		in := "/modules/" + name + ".ko"
		t.File(in, 0o644, data)
		order = append(order, in)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName folds the two spellings that file names and dependency lists use.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

func readModule(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".xz") {
		return data, err
	}
	r, err := xz.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// moduleNeeds reads "depends" of a module's .modinfo section: NUL-separated key=value strings.
func moduleNeeds(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, found := bytes.CutPrefix(field, []byte("depends=")); found && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
