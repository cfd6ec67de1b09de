package loadertest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var (
	update = flag.Bool("update", false, "rewrite the tables in docs/explanation/boot-loaders.md")
	long   = flag.Bool("long", os.Getenv("VMTESTS_ALL") == "1",
		"play everything, also with the stock-style script, and 50 rebuilds")
	appender = flag.String("appender", "", "the PROGRAM that TestLoaders_program plays")
)

// The appenders of the tables.
const ours, stock = "sops-initrd", "stock-style script"

// Rebuilds without change, in an ordinary run and in a long one.
const fewRebuilds, manyRebuilds = 3, 50

// page has both tables, each between two comments that name its appender.
const page = "../../../docs/explanation/boot-loaders.md"

// tempDir is a directory in memory where there is one: the installers sync thousands of times.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "loadertest")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func stage(t *testing.T, l Loader, a func() Appender) *Stage {
	t.Helper()
	s := &Stage{Loader: l, Appender: a, Dir: func() string { return tempDir(t) }}
	if os.Geteuid() == 0 {
		s.SmallBoot = func(n int) (string, error) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", n)); err != nil {
				return "", err
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			return dir, nil
		}
	}
	return s
}

// programs builds what the suite needs.
func programs(t *testing.T) (sopsInitrd, sops string) {
	t.Helper()
	sopsInitrd = filepath.Join(t.TempDir(), "sops-initrd")
	if out, err := exec.Command("go", "build", "-o", sopsInitrd,
		"github.com/sops-initrd/sops-initrd/cmd/sops-initrd").CombinedOutput(); err != nil {
		t.Fatalf("build sops-initrd: %v: %s", err, out)
	}
	out, err := exec.Command("go", "tool", "-n", "sops").Output()
	if err == nil {
		err = exec.Command("go", "tool", "sops", "--version").Run()
	}
	skipWithout(t, err)
	return sopsInitrd, strings.TrimSpace(string(out))
}

// skipWithout skips the test when something is missing; that fails in CI.
func skipWithout(t *testing.T, missing error) {
	t.Helper()
	if missing != nil && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	if missing != nil {
		t.Skip(missing)
	}
}

// short are the scenarios that tell most, for every run.
var short = map[string]bool{
	"rebuilds without change": true, "same configuration, file of the host changed": true,
	"old generations cannot be made any more": true,
	"default cannot be made":                  true, "boot directory full": true,
}

// TestLoaders plays the scenarios with the hook and holds what comes of it to the table in the
// documentation.
func TestLoaders(t *testing.T) {
	sopsInitrd, sops := programs(t)
	rebuilds := fewRebuilds
	if *long {
		rebuilds = manyRebuilds
	}
	compare(t, ours, func() Appender { return NewOurs(sopsInitrd, sops) }, rebuilds)
}

// TestLoaders_stock does the same with a script such as NixOS's own, for comparison.
func TestLoaders_stock(t *testing.T) {
	if !*long && !*update {
		t.Skip("takes long; -long plays it")
	}
	// What grows is told in numbers.
	compare(t, stock, func() Appender { return Program{stockScript(t)} }, fewRebuilds)
}

// TestLoaders_program plays the scenarios with somebody else's appender and prints the table; with
// the stock-style script, as an example, where none is given.
func TestLoaders_program(t *testing.T) {
	path := *appender
	if path == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root, who can enter directories that are made under the umask of installers")
		}
		path = stockScript(t)
	}
	first := Scenarios()[0].Name
	rows := play(t, func() Appender { return Program{path} }, fewRebuilds,
		func(scenario string) bool { return *appender != "" || scenario == first },
		func(*testing.T, int, int, string) {})
	_, _ = fmt.Fprint(os.Stdout, Markdown(Loaders(), rows))
	if *appender == "" {
		if d := cmp.Diff(table(t, stock)[:1], rows); d != "" {
			t.Error(d)
		}
	}
}

func stockScript(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"bash", "cpio", "zstd"} {
		_, err := exec.LookPath(tool)
		skipWithout(t, err)
	}
	path, err := filepath.Abs("testdata/stock-appender")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// play runs the scenarios that are wanted under each loader; judge looks at each outcome.
func play(t *testing.T, a func() Appender, rebuilds int, wanted func(scenario string) bool,
	judge func(t *testing.T, scenario, loader int, cell string),
) (rows []Row) {
	t.Helper()
	loaders := Loaders()
	for n, c := range Scenarios() {
		row := Row{Scenario: c.Name, Cells: make([]string, len(loaders))}
		if !wanted(c.Name) {
			continue
		}
		for i, l := range loaders {
			t.Run(c.Name+"/"+l.Name(), func(t *testing.T) {
				s := stage(t, l, a)
				s.Rebuilds = rebuilds
				cell, err := Play(c, s)
				if err != nil {
					t.Fatal(err)
				}
				row.Cells[i] = cell
				if cell == errSkipped.Error() {
					t.Skip("needs root, for a boot directory with little room")
				}
				judge(t, n, i, cell)
			})
		}
		rows = append(rows, row)
	}
	return rows
}

// compare plays an appender and holds its outcomes to the page.
func compare(t *testing.T, name string, a func() Appender, rebuilds int) {
	t.Helper()
	loaders, documented := Loaders(), table(t, name)
	wanted := func(scenario string) bool { return *long || *update || short[scenario] }
	rows := play(t, a, rebuilds, wanted,
		func(t *testing.T, n, i int, cell string) {
			t.Helper()
			scenario := Scenarios()[n].Name
			if name == ours && !acceptable(scenario, loaders[i], cell) {
				t.Errorf("%q must not be, whatever is documented", cell)
			}
			if !*update && (n >= len(documented) || documented[n].Scenario != scenario ||
				documented[n].Cells[i] != cell) {
				t.Errorf("%q is not what %s says (-update rewrites it)", cell, page)
			}
		})
	if *update && !t.Failed() {
		rewrite(t, name, Markdown(loaders, rows))
	}
}

// acceptable says whether an outcome may be that of the hook: every entry sees its own secrets,
// with the exceptions that loaders leave no choice in.
func acceptable(scenario string, l Loader, cell string) bool {
	switch scenario {
	case "... and never could": // nobody has these secrets: none, but never somebody else's
		return !strings.Contains(cell, "sees") && !strings.Contains(cell, "torn")
	case "same configuration, file of the host changed":
		if _, signed := l.(Lanzaboote); signed { // a signed stub is never touched again
			return strings.Contains(cell, "g3 keeps its earlier ones")
		}
	case "... that cannot be made any more":
		// the builder removes a specialisation's image before it makes it again
		if _, deletes := l.(SystemdBootOld); deletes {
			return cell == "exit 1, g4-alt has none"
		}
	}
	return strings.Contains(cell, right) && !strings.Contains(cell, "stays") &&
		!strings.Contains(cell, "grows")
}

func marks(name string) (begin, end string) {
	return "<!-- begin " + name + " -->\n", "<!-- end " + name + " -->\n"
}

// section is the table of an appender in the page, with what is before and behind it.
func section(t *testing.T, name string) (before, text, after string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := marks(name)
	before, rest, ok := strings.Cut(string(data), begin)
	text, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no section of %q", page, name)
	}
	return before + begin, text, end + after
}

func table(t *testing.T, name string) (rows []Row) {
	t.Helper()
	_, text, _ := section(t, name)
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if i >= 2 && len(cells) == len(Loaders())+1 {
			rows = append(rows, Row{cells[0], cells[1:]})
		}
	}
	return rows
}

func rewrite(t *testing.T, name, text string) {
	t.Helper()
	before, _, after := section(t, name)
	//nolint:gosec // documentation
	if err := os.WriteFile(page, []byte(before+text+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestKernelModel(t *testing.T) {
	t.Parallel()
	base, err := baseInitrd("A", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(base)%4 == 0 {
		t.Fatal("the base must not end on a boundary")
	}
	archive := newc("secret", "value")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"on a boundary", append(padded([][]byte{base}), archive...), "value"},
		{"not on a boundary", append(base[:len(base):len(base)], archive...), ""},
		{
			"cut in its data", append(padded([][]byte{base}), archive[:len(archive)-len(newc("", ""))-6]...),
			"va\x00\x00\x00",
		},
		{
			"behind something torn", append(append(padded([][]byte{base}), archive[:116]...), archive...),
			"\x00\x00\x00\x00\x00",
		},
	} {
		if got := unpack(c.data)["secret"]; c.name != "behind something torn" && got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if d := cmp.Diff(map[string]string{"/etc/x": "1"},
		secretsIn(map[string]string{"init": "", ".initrd-secrets/etc/x": "1"})); d != "" {
		t.Error(d)
	}
}

// newc is an archive of one file; without a name, the trailer alone.
func newc(name, content string) []byte {
	var b []byte
	add := func(name, content string, mode int) {
		b = fmt.Appendf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 0, mode, 0, 0, 1,
			0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b = append(append(b, name...), 0)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		b = append(b, content...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	if name != "" {
		add(name, content, 0o100400)
	}
	add(trailer, "", 0)
	return b
}
