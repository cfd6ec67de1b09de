package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBootstrap_plaintext traces the program and sops while they make a key: plaintext goes
// through pipes, and to no file.
func TestBootstrap_plaintext(t *testing.T) {
	t.Parallel()
	if ok, err := haveTool("strace"); err != nil {
		t.Fatal(err)
	} else if !ok {
		t.Skip("strace is not installed")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{program: self, "sops": tool(t, "sops")} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	rules := "creation_rules:\n  - age: " + otherRecipient + "\n"
	if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: the program lets nobody else look into its memory")
	}
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "100000", "-o", trace,
		"-e", "trace=write,writev,pwrite64,pwritev,pwritev2,execve",
		filepath.Join(bin,
			program), "bootstrap", "--host-key", testRecipient, "--luks", "root", "server01.yaml")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	pipes := 0
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, "PRIVATE KEY") {
			continue
		}
		if strings.Contains(line, "<pipe:[") && !strings.Contains(line, "execve(") {
			pipes++
			continue
		}
		t.Errorf("plaintext elsewhere than in a pipe: %.200s", line)
	}
	if pipes == 0 {
		t.Error("no plaintext was seen in a pipe: the trace shows nothing")
	}
	for _, e := range glob(t, dir+"/*") {
		if name := filepath.Base(e); name != "bin" && name != ".sops.yaml" && name != "trace" &&
			name != "server01.yaml" {
			t.Errorf("%s was left", name)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
