package cli

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProtect looks at a process that protected itself.
func TestProtect(t *testing.T) {
	if os.Getenv("CLI_PROTECT") != "" {
		Protect()
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		var core unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
		status, _ := os.ReadFile("/proc/self/status")
		fmt.Fprintf(os.Stdout, "dumpable %d core %d/%d\n%s", dumpable, core.Cur, core.Max, status)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProtect$")
	cmd.Env = append(os.Environ(), "CLI_PROTECT=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "dumpable 0 core 0/0\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	locked := !regexp.MustCompile(`(?m)^VmLck:\s+0 kB$`).Match(out)
	if os.Geteuid() == 0 && limit.Max == unix.RLIM_INFINITY && !locked {
		t.Errorf("memory can be swapped out:\n%s", out)
	}
	if os.Geteuid() != 0 && limit.Max != unix.RLIM_INFINITY && locked {
		t.Error("memory is locked where that is limited: the Go runtime may run out of it")
	}
}
