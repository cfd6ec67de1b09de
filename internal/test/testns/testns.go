// Package testns runs a test in mount and PID namespaces of its own, so that it can mount file
// systems, use the real /run and /etc/passwd, and leave processes behind, without the machine
// seeing any of it. It is imported by tests only.
package testns

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// marker is set in the environment of the process that runs inside.
const marker = "TESTNS_INSIDE"

// prepare gives the namespace an empty /run and an /etc with just the users and groups that tests
// rely on; keys and nogroup are there, as on NixOS.
const prepare = `
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/etc
mount -t tmpfs -o mode=0755 tmpfs /run/etc
cp -a /etc/. /run/etc
mount --move /run/etc /etc
rm -rf /run/etc /run/mount
mkdir /run/nixos
cat >/etc/passwd <<.
root:x:0:0::/root:/bin/sh
nobody:x:65534:65534::/nonexistent:/bin/false
someuser:x:1000:1000::/home/someuser:/bin/sh
example-user:x:1002:1002::/home/example:/bin/sh
.
cat >/etc/group <<.
root:x:0:
keys:x:96:
nogroup:x:65534:
somegroup:x:1000:
example:x:1002:
.
cat >/etc/nsswitch.conf <<.
passwd: files
group: files
shadow: files
.
`

// Inside says whether the test goes on: it does in the namespaces. Outside it runs the calling test
// in a child there, passes on how that ended, and returns false. An ordinary user cannot make the
// namespaces; then the test is skipped, or fails if CI is true. Further variables for the child
// have the form NAME=value.
func Inside(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(marker) != "" {
		return true
	}
	Need(t)
	args := []string{
		"--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private",
		"sh", "-ec", prepare + `exec "$@"`, "sh", os.Args[0], "-test.run", pattern(t.Name()),
		"-test.timeout", "10m",
	}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(append(os.Environ(), marker+"=1"), env...)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in namespaces of its own: %v\n%s", err, out)
	case testing.Verbose():
		t.Logf("%s", out)
	case strings.Contains(string(out), "no tests to run"):
		t.Errorf("nothing ran in the namespaces:\n%s", out)
	}
	return false
}

// pattern matches just this test or subtest.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// Need skips the test where there can be no namespaces. For root, and where CI is true, it fails.
func Need(t *testing.T) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		t.Skip("needs root, for mount and PID namespaces")
	}
	if out, err := exec.Command("unshare", "--mount", "--pid", "--fork",
		"true").CombinedOutput(); err != nil {
		why = "no mount and PID namespaces here: " + strings.TrimSpace(string(out)+" "+err.Error())
	}
	if why == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
