package initrdsecrets

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

func read1(e manifest.Entry) ([]initrd.Entry, []string, error) {
	return (&reader{context.Background(), maxSourceBytes}).entries(e)
}

// tree makes files in a directory: a name ending in a slash is a directory, a content beginning
// with "-> " a symbolic link.
func tree(t *testing.T, files ...[2]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f[0])
		var err error
		switch target, isLink := strings.CutPrefix(f[1], "-> "); {
		case strings.HasSuffix(f[0], "/"):
			err = os.MkdirAll(name, 0o750)
		case isLink:
			err = os.Symlink(target, name)
		default:
			err = os.WriteFile(name, []byte(f[1]), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSourceEntries(t *testing.T) {
	t.Parallel()
	dir := tree(t,
		[2]string{"file", "content"}, [2]string{"link", "-> file"}, [2]string{
			"dirlink",
			"-> ca",
		}, [2]string{"ca/", ""},
		[2]string{"ca/b.pem", "b"}, [2]string{"ca/a.pem", "-> b.pem"}, [2]string{
			"ca/sub/",
			"",
		}, [2]string{"ca/sub/up", "-> ../b.pem"},
		[2]string{"empty/", ""},
	)
	if err := os.Chmod(filepath.Join(dir, "file"), fs.ModeSetuid|0o751); err != nil {
		t.Fatal(err)
	}
	mode := func(m fs.FileMode) *fs.FileMode { return &m }
	directory := func(path string, m fs.FileMode) initrd.Entry {
		return initrd.Entry{Path: path, Mode: fs.ModeDir | m, UID: 7, GID: 8}
	}
	file := func(path string, m fs.FileMode, data string) initrd.Entry {
		return initrd.Entry{Path: path, Mode: m, UID: 7, GID: 8, Data: []byte(data)}
	}
	link := func(path, target string) initrd.Entry {
		return initrd.Entry{Path: path, Mode: fs.ModeSymlink | 0o777, UID: 7, GID: 8, Target: target}
	}
	for _, c := range []struct {
		name   string
		source string
		mode   *fs.FileMode
		want   []initrd.Entry
	}{
		{"file keeps its mode", "file", nil, []initrd.Entry{file("/p/x", fs.ModeSetuid|0o751,
			"content")}},
		{"declared mode counts", "file", mode(0o400), []initrd.Entry{file("/p/x", 0o400, "content")}},
		{"link is followed", "link", nil, []initrd.Entry{file("/p/x", fs.ModeSetuid|0o751, "content")}},
		{"directory", "ca", nil, []initrd.Entry{
			directory("/p/x", 0o750), link("/p/x/a.pem", "b.pem"), file("/p/x/b.pem", 0o640, "b"),
			directory("/p/x/sub", 0o750), link("/p/x/sub/up", "../b.pem"),
		}},
		{"directory with a declared mode", "dirlink", mode(0o440), []initrd.Entry{
			directory("/p/x", 0o550), link("/p/x/a.pem", "b.pem"), file("/p/x/b.pem", 0o440, "b"),
			directory("/p/x/sub", 0o550), link("/p/x/sub/up", "../b.pem"),
		}},
		{"empty directory", "empty", nil, []initrd.Entry{directory("/p/x", 0o750)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := manifest.Entry{
				Prefix: "/p", Path: "/x", Source: filepath.Join(dir, c.source),
				Mode: c.mode, UID: 7, GID: 8,
			}
			got, warnings, err := read1(e)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("error %v, warnings %q", err, warnings)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestSourceEntries_refuses(t *testing.T) {
	t.Parallel()
	dir := tree(t, [2]string{"names/", ""}, [2]string{"names/a b", "x"}, [2]string{"names/c*", "y"},
		[2]string{"names/d e/", ""}, [2]string{"names/d e/f", ""}, [2]string{"dangling", "-> nowhere"},
		[2]string{"loop", "-> loop"}, [2]string{"pipes/", ""}, [2]string{"file", ""})
	for _, name := range []string{"pipe", "pipes/one", "pipes/two"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"socket", "pipes/socket"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	if err := os.WriteFile(filepath.Join(dir, "sparse"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "sparse"), 200<<30); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, source string
		want         []string
	}{
		{"missing", "none", []string{"none: no such file or directory"}},
		{"below a file", "file/x", []string{"file/x: not a directory"}},
		{"dangling link", "dangling", []string{"dangling: no such file or directory"}},
		{"loop", "loop", []string{"loop: too many levels of symbolic links"}},
		{
			"named pipe, without waiting for a writer", "pipe",
			[]string{"pipe: is a named pipe, not a file"},
		},
		{"socket", "socket", []string{"socket: is a socket, not a file"}},
		{"larger than memory", "sparse", []string{"sparse: too large: the sources of a manifest may " +
			"have 256 MiB together"}},
		{"device", "/dev/null", []string{"/dev/null: is a device, not a file"}},
		{"every bad file of a directory", "pipes", []string{
			"pipes/one: is a named pipe",
			"pipes/socket: is a socket", "pipes/two: is a named pipe",
		}},
		{"names that stage 1 cannot copy", "names", []string{
			`names: "a b" has white space`,
			`names: "c*" has white space`, `names: "d e" has white space`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source := c.source
			if !filepath.IsAbs(source) {
				source = filepath.Join(dir, source)
			}
			entries, _, err := read1(manifest.Entry{Prefix: "/", Path: "/x", Source: source})
			if err == nil {
				t.Fatalf("no error, %d entries", len(entries))
			}
			if got := len(split(err)); got != len(c.want) {
				t.Errorf("%d faults, want %d: %v", got, len(c.want), err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestSourceEntries_linksOutOfTheDirectoryAreWarnedAboutAndNotFollowed(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(secret, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := tree(t, [2]string{"d/", ""}, [2]string{"d/abs", "-> " + secret}, [2]string{
		"d/up",
		"-> ../../etc",
	}, [2]string{"d/self", "-> ."},
		[2]string{"d/in", "-> sub/../file"}, [2]string{"d/file", "x"})
	entries, warnings, err := read1(manifest.Entry{
		Prefix: "/", Path: "/x",
		Source: filepath.Join(dir, "d"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if string(e.Data) == "outside" {
			t.Errorf("%s was followed", e.Path)
		}
	}
	slices.Sort(warnings)
	if len(warnings) != 2 || !strings.Contains(warnings[0], `"abs" points to`) ||
		!strings.Contains(warnings[1], `"up" points to`) {
		t.Errorf("warnings %q, want one for abs and one for up", warnings)
	}
}
