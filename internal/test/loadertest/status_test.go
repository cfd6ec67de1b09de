package loadertest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// status runs the program's view of what is installed.
func (o *Ours) status(w *World, options ...string) (string, int) {
	cmd := exec.Command(o.Program, append([]string{"status", "--efivars", "none", "--boot", w.Boot},
		options...)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// systems counts the systems with entries in a state; GRUB has two entries for its default.
func (o *Ours) systems(t *testing.T, w *World, state bootloader.State) int {
	t.Helper()
	out, _ := o.status(w, "--json", "--deep")
	var s bootloader.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := make(map[string]bool)
	for _, e := range s.Entries {
		if e.State == state {
			seen[e.System] = true
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
		if status != 0 || ours.systems(t, w, bootloader.Whole) != 3 ||
			strings.Contains(out, "No entry loads") {
			t.Errorf("%s: exit status %d:\n%s", l.Name(), status, out)
		}
		part := fmt.Sprintf("# %s\n%s", l.Name(), anonymous(w, out))
		shown.WriteString(part + "\n")
		if !*update && !strings.Contains(documented, part) {
			t.Errorf("%s does not have this (-update rewrites it):\n%s", page, part)
		}

		// A file of the host changes: the entry of that generation is stale, the others are not.
		if err := ours.Rotate(w, w.Default,
			map[string]string{hostFile + "-credential": "changed"}); err != nil {
			t.Fatal(err)
		}
		out, status = ours.status(w)
		if status != 1 || ours.systems(t, w, bootloader.Stale) != 1 ||
			ours.systems(t, w, bootloader.Whole) != 2 {
			t.Errorf("%s, stale: exit status %d:\n%s", l.Name(), status, out)
		}
		// Its image goes away: nothing is left that could be whole.
		for name := range w.images(l) {
			if err := exec.Command("truncate", "-s", "0", name).Run(); err != nil {
				t.Fatal(err)
			}
		}
		if out, status = ours.status(w); status != 1 ||
			ours.systems(t, w, bootloader.CutShort)+ours.systems(t, w, bootloader.NoSecrets) != 3 {
			t.Errorf("%s, emptied: exit status %d:\n%s", l.Name(), status, out)
		}
	}
	if *update {
		rewrite(t, "status", "```\n"+strings.TrimRight(shown.String(), "\n")+"\n```\n")
	}
}

// hash is a store path's or a digest: long, and another one at every run.
var hash = regexp.MustCompile(`[0-9a-f]{32,64}`)

func anonymous(w *World, out string) string {
	return hash.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(out, w.Dir+"/store",
		"/nix/store"), w.Dir, ""), "…")
}
