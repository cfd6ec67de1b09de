package vmtests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// unavailable skips, or fails where all tests have to run.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("VMTESTS_REQUIRED") == "1" {
		t.Fatalf("cannot run here, and CI=true or VMTESTS_REQUIRED=1: "+format, args...)
	}
	t.Skipf(format, args...)
}

// need makes sure of the programs a test runs on the host.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			unavailable(t, "%v (scripts/setup installs what tests need)", err)
		}
	}
}

func testKernel(t *testing.T) vm.Kernel {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: without -short kernels boot")
	}
	k, err := vm.FindKernel()
	if err == nil {
		err = k.Available()
	}
	if err != nil {
		unavailable(t, "%v (scripts/setup unpacks a kernel)", err)
	}
	need(t, "busybox")
	return k
}

// onKernels runs a test of what kernels do on each kernel that is wanted: Debian's of this release,
// with VMTESTS_ONE_KERNEL=1 that one alone; testing's, testing's for arm64, in long runs those of
// stable and its backports too; or on the one that VMTEST_KERNEL names, alone. all is false where a
// few cases are enough: on all but the first, in ordinary runs.
func onKernels(t *testing.T, test func(t *testing.T, k vm.Kernel, all bool)) {
	t.Helper()
	first := testKernel(t)
	t.Run(first.Version, func(t *testing.T) { test(t, first, true) })
	if os.Getenv(vm.KernelEnv) != "" || os.Getenv("VMTESTS_ONE_KERNEL") == "1" {
		return
	}
	further := [][2]string{{"testing", "amd64"}, {"testing", "arm64"}}
	if long() {
		further = append(further, [2]string{"stable", "amd64"}, [2]string{"stable-backports", "amd64"})
	}
	for _, f := range further {
		k, err := vm.FindExtraKernel(f[0], f[1])
		if err == nil {
			err = k.Available()
		}
		name := k.Version
		if err != nil {
			name = strings.Join(f[:], "-")
		}
		t.Run(name, func(t *testing.T) {
			if err != nil {
				unavailable(t, "%v (VMTESTS_ALL=1 scripts/setup all unpacks kernels)", err)
			}
			test(t, k, long())
		})
	}
}

// writeImage puts an image made of parts into a file.
func writeImage(t *testing.T, parts ...[]byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(file, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// busyboxRoot is a tree whose init runs script between the prelude and the end of the protocol, for
// a kernel of this machine's architecture.
func busyboxRoot(script string) *vm.Tree { return guestRoot(vm.Kernel{}, script) }

// guestRoot is the same for any kernel.
func guestRoot(k vm.Kernel, script string) *vm.Tree {
	var t vm.Tree
	k.AddBusybox(&t)
	t.File("/init", 0o755, []byte(vm.Prelude+script+"\nfinish\n"))
	return &t
}

func archive(t *testing.T, tree *vm.Tree) []byte {
	t.Helper()
	data, err := tree.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func compress(t *testing.T, format string, data []byte) []byte {
	t.Helper()
	out, err := vm.Compress(format, data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newc writes records as they are, with the trailer: premise tests need archives that no careful
// builder would make.
func newc(t *testing.T, recs ...cpio.Record) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := cpio.Newc.Writer(&buf)
	if err := cpio.WriteRecords(w, recs); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// boot runs the machine to its end and prints its console when the test fails.
func boot(t *testing.T, m vm.Machine) *vm.Report {
	t.Helper()
	rep, err := m.Boot(t.Context())
	if rep != nil {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("console of the guest (%.1f s):\n%s", rep.Took.Seconds(), rep.Console)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// expect compares details that the guest reported with what the host knows.
func expect(t *testing.T, rep *vm.Report, want map[string]string) {
	t.Helper()
	if !rep.Done {
		t.Error("guest did not come to its end")
	}
	for name, detail := range want {
		got, found := rep.Results[name]
		switch {
		case !found:
			t.Errorf("%s: not reported", name)
		case !got.OK || got.Detail != detail:
			t.Errorf("%s: %s\nwant %s", name, got.Detail, detail)
		}
	}
}

// regular is what describe prints for a regular file.
func regular(mode uint32, uid, gid int, data []byte) string {
	return fmt.Sprintf("file %o %d %d %d %x", mode, uid, gid, len(data), sha256.Sum256(data))
}

func pad(data []byte, multiple int) []byte {
	return append(bytes.Clone(data), make([]byte, (multiple-len(data)%multiple)%multiple)...)
}

func wantConsole(t *testing.T, rep *vm.Report, text string, present bool) {
	t.Helper()
	if strings.Contains(rep.Console, text) != present {
		t.Errorf("console has %q: %v, want %v", text, !present, present)
	}
}

// long tells whether the cases that are kept out of the ordinary run are wanted.
func long() bool { return os.Getenv("VMTESTS_ALL") == "1" }

// noPlaintext searches a whole disk image for values that may be nowhere on it but in the extents
// that are left out: those of installed initrds. What was freed counts.
func noPlaintext(t *testing.T, disk string, values map[string][]byte, except ...vm.Extent) {
	t.Helper()
	found, err := vm.FindPlaintext(disk, values, except...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("%s holds %v", filepath.Base(disk), f)
	}
}

// onlyIf skips what is kept out of the ordinary run.
func onlyIf(t *testing.T, wanted bool) {
	t.Helper()
	if !wanted {
		t.Skip("takes long: VMTESTS_ALL=1 runs it")
	}
}
