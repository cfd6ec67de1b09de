package loadertest

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// status runs the program's view of what is installed.
func (o *Ours) status(w *World) (string, int) {
	cmd := exec.Command(o.Program, "status", "--boot", w.Boot)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// systems counts the systems with entries in a state; GRUB has two entries for its default.
func systems(out, state string) int {
	seen := make(map[string]bool)
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "  "+state+"  ") {
			seen[line] = true
		}
	}
	return len(seen)
}

// TestStatus looks at what each installer left, in the forms that the installers write.
func TestStatus(t *testing.T) {
	sopsInitrd, sops := programs(t)
	var shown strings.Builder
	_, documented, _ := section(t, "status")
	for _, l := range Loaders() {
		if !*long && !*update && (l == Loader(SystemdBootOld{}) || l == Loader(Limine{Pads: true})) {
			continue // another loader has a menu of the same form
		}
		ours := NewOurs(sopsInitrd, sops)
		w, err := stage(t, l, func() Appender { return ours }).installed()
		if err != nil {
			t.Fatal(err)
		}
		out, status := ours.status(w)
		if status != 0 || systems(out, "whole") != 3 || strings.Contains(out, "no entry loads") {
			t.Errorf("%s: exit status %d:\n%s", l.Name(), status, out)
		}
		part := fmt.Sprintf("# %s\n%s", l.Name(), anonymous(w, out))
		shown.WriteString(part + "\n")
		if !*update && !strings.Contains(documented, part) {
			t.Errorf("%s does not have this (-update rewrites it):\n%s", page, part)
		}

		// A file of the host changes: the entry of that generation is stale, the others are not.
		if err := ours.Rotate(w, w.Default, map[string]string{hostFile + "-credential": "changed"}); err != nil {
			t.Fatal(err)
		}
		out, status = ours.status(w)
		if status != 1 || systems(out, "stale") != 1 || systems(out, "whole") != 2 {
			t.Errorf("%s, stale: exit status %d:\n%s", l.Name(), status, out)
		}
		// Its image goes away: nothing is left that could be whole.
		for name := range w.images(l) {
			if err := exec.Command("truncate", "-s", "0", name).Run(); err != nil {
				t.Fatal(err)
			}
		}
		if out, status = ours.status(w); status != 1 || systems(out, "missing") != 3 {
			t.Errorf("%s, emptied: exit status %d:\n%s", l.Name(), status, out)
		}
	}
	if *update {
		rewrite(t, "status", "```\n"+strings.TrimRight(shown.String(), "\n")+"\n```\n")
	}
}

// hash is a store path's or a digest: long, and another one at every run.
var hash = regexp.MustCompile(`[0-9a-f]{32,64}`)

// spaces are those of the table, which depend on what was cut from it.
var spaces = regexp.MustCompile(` {2,}`)

func anonymous(w *World, out string) string {
	return spaces.ReplaceAllString(hash.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(out, w.Dir+"/store", "/nix/store"), w.Dir, ""), "…"), "  ")
}
