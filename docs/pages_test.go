// Package docs tests the documentation: every transcript is played, literally, on two machines with the real programs; every
// configuration stands in an example that nixos/tests/eval evaluates.
package docs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
	"github.com/sops-initrd/sops-initrd/internal/test/testns"
)

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); standins[name] != nil {
		os.Exit(runStandin(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// pages are all pages below this directory, without the sources of manual pages.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (path == "man" || path == "stage") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every command is in a transcript, which TestPages plays; every Nix expression is in an example, which is evaluated.
func TestBlocks(t *testing.T) {
	t.Parallel()
	examples := map[string]string{}
	err := filepath.WalkDir("examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		examples[path] = undent(string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../README.md") {
		if page == "explanation/boot-loaders.md" {
			continue // what it shows comes from the tests that made it
		}
		all, err := blocks(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, b := range all {
			switch b.lang {
			case "nix":
				found := false
				for _, text := range examples {
					found = found || strings.Contains(text, undent(b.text))
				}
				if !found {
					t.Errorf("%s: no file below docs/examples has these lines", b)
				}
			case "console":
				if _, err := b.commands(); err != nil {
					t.Error(err)
				}
			case "text":
				if strings.Contains(b.text, "\n$ ") || strings.HasPrefix(b.text, "$ ") {
					t.Errorf("%s: a transcript is a console block", b)
				}
			case "yaml", "json", "sh":
				if b.lang == "sh" && page == "../README.md" {
					continue // TestInline looks at these
				}
				if _, toFile := b.attrs["file"]; !toFile {
					if _, edited := b.attrs["editor"]; !edited {
						t.Errorf("%s: a %s block is a file (file=NAME) or what is typed into an editor (editor)", b, b.lang)
					}
				}
			case "":
				if page != "../README.md" { // a picture
					t.Errorf("%s: a block without language", b)
				}
			default:
				t.Errorf("%s: a block of language %q is not tested", b, b.lang)
			}
		}
	}
}

// A how-to page begins with its goal and ends with how to see that it was reached. Troubleshooting is a list.
func TestHowTo(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("how-to/*.md")
	if err != nil || len(all) < 15 {
		t.Fatalf("%d pages: %v", len(all), err)
	}
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range all {
		if !strings.Contains(string(index), "]("+page+")") {
			t.Errorf("README.md does not link to %s", page)
		}
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if page == "how-to/troubleshooting.md" {
			continue
		}
		if !strings.Contains(string(data), "\nGoal: ") {
			t.Errorf("%s: no goal", page)
		}
		last := strings.LastIndex(string(data), "\n## ")
		if check, _, _ := strings.Cut(string(data[last+1:]), "\n"); check != "## Check" {
			t.Errorf("%s: ends with %q, not with how to check that it worked", page, check)
		}
		if !strings.ContainsAny(string(data[last+1:]), "$`") {
			t.Errorf("%s: the check names no command", page)
		}
	}
}

// A decision says what the situation was, what was decided, and what follows, and its list has it by its title.
func TestDecisions(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("decisions/0*.md")
	if err != nil || len(all) < 20 {
		t.Fatalf("%d decisions: %v", len(all), err)
	}
	index, err := os.ReadFile("decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := regexp.MustCompile(`(?m)^#+ (.*)$`)
	for _, page := range all {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range headings.FindAllStringSubmatch(string(data), -1) {
			got = append(got, m[1])
		}
		if len(got) != 4 || got[1] != "Situation" || got[2] != "Decision" || got[3] != "Consequences" {
			t.Errorf("%s: headings %q", page, got)
			continue
		}
		if !strings.Contains(string(index), "["+got[0]+"]("+filepath.Base(page)+")") {
			t.Errorf("decisions/README.md does not have %s by its title", page)
		}
	}
}

// Every message that troubleshooting has an entry for is printed by a transcript of that entry, which TestPages plays.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	const page = "how-to/troubleshooting.md"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	all, err := blocks(page)
	if err != nil {
		t.Fatal(err)
	}
	messages, _, found := strings.Cut(string(data), "\n## Without a message\n")
	entries := strings.Split(messages, "\n### ")[1:]
	if !found || len(entries) < 10 {
		t.Fatalf("%d entries", len(entries))
	}
	line := strings.Count(messages[:strings.Index(messages, "\n### ")], "\n") + 2
	for _, entry := range entries {
		end := line + strings.Count(entry, "\n") + 1
		message, _, _ := strings.Cut(entry, "\n")
		shown := false
		for _, b := range all {
			if b.lang != "console" || b.line < line || b.line >= end {
				continue
			}
			commands, err := b.commands()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range commands {
				for _, want := range c.want {
					has := true
					for part := range strings.SplitSeq(message, "…") {
						has = has && strings.Contains(want, strings.TrimSpace(part))
					}
					shown = shown || has
				}
			}
		}
		if !shown {
			t.Errorf("%s:%d: no transcript prints %q", page, line, message)
		}
		line = end
	}
}

// Every link to a file leads to one.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// undent removes indentation, so that a part of an example can be shown.
func undent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// TestPages plays the transcripts of all pages.
func TestPages(t *testing.T) {
	scripttest.Need(t, "bash", "ssh", "ssh-keygen", "ssh-keyscan", "git", "gpg", "cryptsetup", "unshare")
	t.Parallel()
	if os.Getenv("NIXPKGS_LIB") != "" {
		scripttest.Need(t, "nix-instantiate")
	}
	bin := os.Getenv("STAGE_BIN")
	if bin == "" { // outside of the namespaces
		bin = programs(t)
	}
	for _, page := range pages(t) {
		all, err := blocks(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if b.lang == "console" {
				name := strings.ReplaceAll(strings.TrimSuffix(page, ".md"), "/", "_")
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if testns.Inside(t, "STAGE_BIN="+bin) {
						play(t, page, bin, all)
					}
				})
				break
			}
		}
	}
}

// programs builds what users have: the programs of this repository, sops and age-keygen, and the stand-ins.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	// go build links anew only what has changed since it wrote there.
	built, err := filepath.Abs("../build/docs-bin")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", built+"/", "github.com/sops-initrd/sops-initrd/cmd/...", "filippo.io/age/cmd/age-keygen")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(to, from string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(bin, to), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"sops-initrd", "sops-install-secrets", "ssh-to-age", "ssh-to-pgp", "sops-init-gpg-key", "age-keygen",
	} {
		copyTo(name, filepath.Join(built, name))
	}
	copyTo("sops", testkeys.SOPS(t))
	copyTo("stage", self)
	for name := range standins {
		if err := os.Symlink("stage", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// play plays a page.
func play(t *testing.T, page, bin string, all []*block) {
	// Sockets belong to the network namespace of the thread that makes them. The thread ends with this test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	loopback(t)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	d := directivesOf(string(text))
	s := newStage(t, bin, d)
	ssh, err := s.hostSSHD()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { ssh.close() }()
	if d["nix"] == "real" {
		s.installNix(t)
	}
	if script := d["stage"]; script != "" {
		start := "bash " + stageDir + "/repo/docs/stage/" + script + ".bash && cd ~/infra"
		if module := d["module"]; module != "" { // the example that the page shows in parts
			start += " && cp " + stageDir + "/repo/docs/examples/" + module + " modules/"
		}
		if out, status := s.admin.run(t, start, ""); status != 0 {
			t.Fatalf("stage/%s.bash:\n%s", script, out)
		}
	}
	for i, b := range all {
		if path := b.attrs["file"]; path != "" {
			s.write(t, b, path)
		}
		if b.lang != "console" {
			continue
		}
		commands, err := b.commands()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			s.prepareEditor(t, all[i+1:])
			x := s.admin
			if c.machine == "server01" {
				x = s.server
			}
			output, status := x.run(t, c.text, c.typed)
			t.Logf("%s:%d: on %s: %s\n%s", page, c.line, c.machine, c.text, output)
			if (status != 0) != c.fails() || !c.matches(output) {
				t.Fatalf("%s:%d: %q: exit status %d, printed\n%s", page, c.line, c.text, status, output)
			}
			if ssh, err = s.proceed(ssh); err != nil {
				t.Fatalf("%s:%d: %v", page, c.line, err)
			}
		}
	}
	s.compareEvaluations(t)
}

// write puts a block into a file of the administrator's working directory.
func (s *stage) write(t *testing.T, b *block, path string) {
	t.Helper()
	text := strings.ReplaceAll(b.text, "'", `'\''`)
	if out, status := s.admin.run(t, "mkdir -p \"$(dirname '"+path+"')\" && printf %s '"+text+"' >'"+path+"'", ""); status != 0 {
		t.Fatalf("%s: %s", b, out)
	}
}

// prepareEditor makes the editor type the next block that is marked for it.
func (s *stage) prepareEditor(t *testing.T, next []*block) {
	t.Helper()
	for _, b := range next {
		if _, marked := b.attrs["editor"]; marked {
			for _, x := range s.sessions {
				if err := os.WriteFile(x.root+stageDir+"/state/edit", []byte(b.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			return
		}
		if b.lang == "console" {
			return
		}
	}
}

// proceed lets the host reboot, into its initrd and, when the disk is open, further.
func (s *stage) proceed(ssh *sshd) (*sshd, error) {
	root := s.root("server01")
	if os.Remove(root+rebootMarker) == nil {
		ssh.close()
		return s.bootedInitrd()
	}
	if os.Remove(root+unlockedMarker) == nil {
		ssh.close()
		return s.hostSSHD()
	}
	return ssh, nil
}
