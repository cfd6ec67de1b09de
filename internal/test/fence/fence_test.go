// Package fence holds the module to its import rules where golangci-lint is not installed: the four
// that matter most, over what `go list` says. .golangci.yml has all of them.
package fence

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/sops-initrd/sops-initrd"
	sops   = "github.com/getsops/sops/v3"
)

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string // of the package itself, tests excluded
	Deps       []string // everything below it
}

// in tells whether p is the package path or lies below it.
func in(p, path string) bool { return p == path || strings.HasPrefix(p, path+"/") }

func load(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.Bytes())
	}
	all := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	if len(all) < 100 {
		t.Fatalf("go list named %d packages only", len(all))
	}
	return all
}

// TestLayers compares the table of CONTRIBUTING.md with the packages: all are in it, and none
// imports one of a row above its own.
func TestLayers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "```text\n")
	table, rest, _ := strings.Cut(table, "```\n")
	layer := map[string]int{}
	rows := 0
	for line := range strings.Lines(table) {
		rows++
		names, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		for name := range strings.SplitSeq(names, ", ") {
			layer[name] = rows
		}
	}
	_, tests, _ := strings.Cut(rest, "For tests and builds only: ")
	tests, _, _ = strings.Cut(tests, ".\n")
	for name := range strings.SplitSeq(tests, ", ") {
		layer[strings.Trim(name, "`")] = 0 // may import all
	}
	found := map[string]bool{}
	for path, p := range load(t) {
		name, ok := strings.CutPrefix(path, module+"/internal/")
		if name, _, _ = strings.Cut(name, "/"); !ok || name == "deps" {
			continue
		}
		found[name] = true
		of, ok := layer[name]
		if !ok {
			t.Errorf("CONTRIBUTING.md does not say where internal/%s belongs", name)
			continue
		}
		for _, dep := range p.Imports {
			below, ok := strings.CutPrefix(dep, module+"/internal/")
			if below, _, _ = strings.Cut(below, "/"); !ok || below == name || of == 0 {
				continue
			}
			// In the lowest row cli, pattern and atomicfile are there for the others.
			if layer[below] < of || layer[below] == of && of != rows {
				t.Errorf("internal/%s imports internal/%s, which stands above it or beside it in "+
					"CONTRIBUTING.md", name, below)
			}
		}
	}
	for name := range layer {
		if !found[name] {
			t.Errorf("CONTRIBUTING.md names internal/%s, which is not there", name)
		}
	}
}

func TestImports(t *testing.T) {
	all := load(t)
	own := func(yield func(pkg) bool) {
		for path, p := range all {
			if in(path, module) && !yield(p) {
				return
			}
		}
	}

	t.Run("only the packages that decrypt import sops", func(t *testing.T) {
		allowed := []string{module + "/internal/sopsfile", module + "/internal/keyring", module +
			"/internal/remotekey"}
		for p := range own {
			for _, imp := range p.Imports {
				if in(imp, sops) && !slices.Contains(allowed, p.ImportPath) &&
					!in(p.ImportPath, module+"/internal/slim") {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
			}
		}
	})

	t.Run("initrd knows nothing of sops or manifests", func(t *testing.T) {
		for _, dep := range all[module+"/initrd"].Deps {
			for _, never := range []string{
				sops, module + "/internal/install", module + "/internal/manifest",
				module + "/internal/resolve",
			} {
				if in(dep, never) {
					t.Errorf("initrd depends on %s", dep)
				}
			}
		}
	})

	t.Run("manifest, template and cli need the standard library only", func(t *testing.T) {
		for _, path := range []string{
			module + "/internal/manifest", module + "/internal/template",
			module + "/internal/cli",
		} {
			for _, dep := range all[path].Deps {
				d := all[dep]
				if !d.Standard && !in(dep, "golang.org/x/sys") && !in(dep, module+"/internal/cli") &&
					!in(dep, module+"/internal/hostfile") && !in(dep, module+"/internal/inputfile") &&
					!in(dep, module+"/internal/pattern") {
					t.Errorf("%s depends on %s", path, dep)
				}
			}
		}
	})

	t.Run("nobody imports a command", func(t *testing.T) {
		for p := range own {
			for _, imp := range p.Imports {
				if in(imp, module+"/cmd") {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
			}
		}
	})
}
