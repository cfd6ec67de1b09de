package loadertest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Scenario is one row of the table.
type Scenario struct {
	Name string
	// Run plays it with a fresh machine and says in a few words what came of it.
	Run func(s *Stage) (string, error)
}

// Stage is where a scenario is played.
type Stage struct {
	Loader   Loader
	Appender func() Appender // a fresh one
	Dir      func() string   // a fresh, empty directory
	// SmallBoot gives a boot directory with room for about n bytes; nil where none can be made.
	SmallBoot func(n int) (string, error)
	Rebuilds  int
}

// errSkipped says that a scenario cannot be played here.
var errSkipped = errors.New("not played")

// Scenarios are all rows, in their order.
func Scenarios() []Scenario {
	return []Scenario{
		{"first installation of three generations", firstInstall},
		{"rebuilds without change", rebuilds},
		{"new generation with other values", newGeneration},
		{"... and the old generations deleted", oldPlaintext},
		{"same configuration, file of the host changed", rotatedFile},
		{"secret removed by a new generation", removedSecret},
		{"specialisation", specialisation},
		{"... that cannot be made any more", lostSpecialisation},
		{"old generations cannot be made any more", lostOld},
		{"... and never could", neverMade},
		{"default cannot be made", lostDefault},
		{"boot directory full", bootFull},
		{"power cut between any two steps", powerCut},
	}
}

// secretsOf are the secrets of the machines here: two from a sops file, one a file of the host, of
// a length that is no multiple of 4.
func secretsOf(generation string) map[string]string {
	return map[string]string{
		"/etc/luks.key":          "luks key of " + generation + "!",
		"/etc/ssh/host_key":      "ssh key of " + generation + strings.Repeat("=", 3000),
		hostFile + "-credential": "credential of " + generation,
	}
}

// machine has three generations: g1 with one initrd, g2 and g3 (the default) with another.
func (s *Stage) machine(boot string) (*World, error) {
	w, err := NewWorld(s.Dir(), boot, s.Appender())
	if err != nil {
		return nil, err
	}
	for i, kind := range []string{"A", "B", "B"} {
		if _, err := w.Add(s.Loader, kind, secretsOf(fmt.Sprintf("g%d", i+1)), nil); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// installed is such a machine with its boot loader installed.
func (s *Stage) installed() (*World, error) {
	w, err := s.machine("")
	if err != nil {
		return nil, err
	}
	return w, w.Install(s.Loader)
}

// status is how an installer's run ended, for the table: nothing when it succeeded.
func status(err error) string {
	if err == nil {
		return "exit 0, "
	}
	return "exit 1, "
}

// serious are errors of the re-enactment itself.
func serious(err error) error {
	var gaveUp installError
	if errors.As(err, &gaveUp) {
		return nil
	}
	return err
}

func firstInstall(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	return w.verdict(s.Loader), nil
}

func rebuilds(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	first, before := w.images(s.Loader), w.bootSize()
	for range s.Rebuilds {
		if err := w.Install(s.Loader); err != nil {
			return "", err
		}
	}
	last, after := w.images(s.Loader), w.bootSize()
	cell := w.verdict(s.Loader)
	if before == after {
		cell += ", flat"
	} else {
		cell += fmt.Sprintf(", grows from %d to %d kB", before/1000, after/1000)
	}
	if !s.Loader.InPlaceUntouched() {
		return cell, nil
	}
	for name, old := range first {
		if last[name] != old {
			return cell + ", rewritten", nil
		}
	}
	return cell + ", untouched", nil
}

func newGeneration(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	return outcome(w, s.Loader)
}

// outcome installs and says what came of it.
func outcome(w *World, l Loader) (string, error) {
	err := w.Install(l)
	if serious(err) != nil {
		return "", err
	}
	return status(err) + w.verdict(l), nil
}

func oldPlaintext(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	old := w.Listed
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	if err := w.Install(s.Loader); err != nil {
		return "", err
	}
	var values []string
	for _, g := range append([]*Generation(nil), old...) {
		w.Delete(g)
		values = append(values, g.Secrets["/etc/luks.key"])
	}
	cell, err := outcome(w, s.Loader)
	if err != nil {
		return "", err
	}
	return w.withLeftovers(cell, values...)
}

// withLeftovers adds to a cell whether values that no entry should have any more are still there.
func (w *World) withLeftovers(cell string, values ...string) (string, error) {
	where, err := w.plaintextOf(values...)
	if err != nil {
		return "", err
	}
	if len(where) > 0 {
		return cell + ", old plaintext stays", nil
	}
	return cell + ", clean", nil
}

func rotatedFile(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	path := hostFile + "-credential"
	old := w.Default.Secrets[path]
	w.Default.Earlier = maps.Clone(w.Default.Secrets)
	if err := w.appender.Rotate(w, w.Default,
		map[string]string{path: "changed credential"}); err != nil {
		return "", err
	}
	cell, err := outcome(w, s.Loader)
	if err != nil {
		return "", err
	}
	return w.withLeftovers(cell, old)
}

func removedSecret(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	old := append([]*Generation(nil), w.Listed...)
	fewer := secretsOf("g4")
	removed := old[2].Secrets["/etc/ssh/host_key"]
	delete(fewer, "/etc/ssh/host_key")
	if _, err := w.Add(s.Loader, "B", fewer, nil); err != nil {
		return "", err
	}
	for _, g := range old {
		w.Delete(g)
	}
	cell, err := outcome(w, s.Loader)
	if err != nil {
		return "", err
	}
	return w.withLeftovers(cell, removed)
}

func specialisation(s *Stage) (string, error) {
	w, err := s.special()
	if err != nil {
		return "", err
	}
	return outcome(w, s.Loader)
}

// special is a machine whose default has a specialisation with secrets of its own and the same
// initrd.
func (s *Stage) special() (*World, error) {
	w, err := s.machine("")
	if err != nil {
		return nil, err
	}
	_, err = w.Add(s.Loader, "B", secretsOf("g4"),
		map[string]map[string]string{"alt": secretsOf("g4-alt")})
	return w, err
}

func lostSpecialisation(s *Stage) (string, error) {
	w, err := s.special()
	if err != nil {
		return "", err
	}
	if err := w.Install(s.Loader); err != nil {
		return "", err
	}
	if err := w.appender.Lose(w, w.Default.Special[0]); err != nil {
		return "", err
	}
	return outcome(w, s.Loader)
}

func lostOld(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	if err := errors.Join(w.appender.Lose(w, w.Listed[0]),
		w.appender.Lose(w, w.Listed[1])); err != nil {
		return "", err
	}
	return outcome(w, s.Loader)
}

func neverMade(s *Stage) (string, error) {
	w, err := s.machine("")
	if err != nil {
		return "", err
	}
	if err := errors.Join(w.appender.Lose(w, w.Listed[0]),
		w.appender.Lose(w, w.Listed[1])); err != nil {
		return "", err
	}
	return outcome(w, s.Loader)
}

func lostDefault(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	if err := w.appender.Lose(w, w.Default); err != nil {
		return "", err
	}
	err = w.Install(s.Loader)
	if serious(err) != nil {
		return "", err
	}
	// Whatever the new default's entry has, those before it must be as they were.
	cell := status(err)
	newest := w.Default
	defaultSees := w.sees(s.Loader, newest)
	w.Delete(newest)
	cell += "others " + w.verdict(s.Loader)
	if err == nil {
		cell += ", default " + defaultSees
	}
	return cell, nil
}

func bootFull(s *Stage) (string, error) {
	if s.SmallBoot == nil {
		return "", errSkipped
	}
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	// The same machine again on a boot directory with room for what it has now and two images more.
	boot, err := s.SmallBoot(int(w.bootSize()) + 100000)
	if err != nil {
		return "", err
	}
	if w, err = s.machine(boot); err != nil {
		return "", err
	}
	if err := w.Install(s.Loader); err != nil {
		return "", fmt.Errorf("first installation on the small boot directory: %w", err)
	}
	filler := filepath.Join(boot, "filler")
	if err := fill(filler); err != nil {
		return "", err
	}
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	err = w.Install(s.Loader)
	w.Delete(w.Default)
	w.Default = w.Listed[2]
	cell := status(err) + "others " + w.verdict(s.Loader)
	if where, err := w.plaintextOf("luks key of g4"); err != nil || len(where) > 0 {
		cell += ", plaintext left"
	}
	if err := os.Remove(filler); err != nil {
		return "", err
	}
	err = w.Install(s.Loader)
	return cell + "; with room again " + status(err) + w.verdict(s.Loader), nil
}

// fill takes all the room that is left.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return f.Close()
}

// cutHere is what ends an installer in the middle.
type cutHere struct{}

func powerCut(s *Stage) (string, error) {
	w, err := s.installed()
	if err != nil {
		return "", err
	}
	if _, err := w.Add(s.Loader, "B", secretsOf("g4"), nil); err != nil {
		return "", err
	}
	var kept []string
	for _, dir := range w.mutable() {
		if !exists(dir) {
			continue
		}
		if out, err := exec.Command("cp", "-a", dir, dir+".kept").CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		kept = append(kept, dir)
	}
	var bad []string
	steps, faulty := 0, 0
	for done := false; !done; steps++ {
		for _, dir := range kept {
			if out, err := exec.Command("sh", "-c", `rm -rf "$1" && cp -a "$1.kept" "$1"`, "sh",
				dir).CombinedOutput(); err != nil {
				return "", fmt.Errorf("%w: %s", err, out)
			}
		}
		step := ""
		if done, step, err = cutAt(w, s.Loader, steps); err != nil {
			return "", err
		}
		before := len(bad)
		for _, g := range w.Listed[:3] {
			if seen := w.sees(s.Loader, g); seen != "its own" {
				bad = append(bad, fmt.Sprintf("%s %s (before: %s)", g.Name, seen, step))
			}
		}
		if seen := w.sees(s.Loader, w.Default); seen != "its own" && seen != errNoEntry.Error() {
			bad = append(bad, "default "+seen+" (before: "+step+")")
		}
		if err := w.Install(s.Loader); err != nil {
			return "", err
		}
		if v := w.verdict(s.Loader); v != right {
			bad = append(bad, "afterwards "+v)
		}
		if len(bad) > before {
			faulty++
		}
	}
	if len(bad) == 0 {
		return right, nil
	}
	return fmt.Sprintf("%s in %d of %d states", words(bad[0]), faulty, steps), nil
}

// words are the beginning of a fault that says what, without where.
func words(fault string) string {
	text, _, _ := strings.Cut(fault, " (")
	return text
}

// mutable are the directories that an installation changes.
func (w *World) mutable() []string {
	return []string{
		w.Boot, w.Temp,
		filepath.Join(w.Dir, "state"),
	}
}

// cutAt runs an installer and ends it before its n-th step. done says that it has fewer.
func cutAt(w *World, l Loader, n int) (done bool, step string, err error) {
	count := 0
	w.Cut = func(s string) {
		if count == n {
			step = s
			panic(cutHere{})
		}
		count++
	}
	defer func() {
		w.Cut = func(string) {}
		if r := recover(); r != nil {
			if _, ok := r.(cutHere); !ok {
				panic(r)
			}
			done, err = false, nil
		}
	}()
	return true, "the end", w.Install(l)
}

// bootSize is the size of all files in the boot directory.
func (w *World) bootSize() (n int64) {
	_ = filepath.WalkDir(w.Boot, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

func inodeOf(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}
