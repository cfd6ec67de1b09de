package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	uroot "github.com/u-root/u-root/pkg/cpio"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/hostfile"
)

// host is a directory with a key, sops files and manifests, on which the program is run in this
// process.
type host struct {
	*testing.T
	dir  string
	sops string
}

func newHost(t *testing.T) host {
	t.Helper()
	h := host{t, t.TempDir(), tool(t, "sops")}
	h.write("key.txt", testIdentity+"\n")
	return h
}

func (h host) path(name string) string { return filepath.Join(h.dir, name) }

func (h host) write(name, content string) string {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(content), 0o600); err != nil {
		h.Fatal(err)
	}
	return h.path(name)
}

func (h host) read(name string) []byte {
	h.Helper()
	data, err := os.ReadFile(h.path(name))
	if err != nil {
		h.Fatal(err)
	}
	return data
}

// encrypt makes a sops file of values.
func (h host) encrypt(name string, values map[string]string) string {
	h.Helper()
	data, err := json.Marshal(values)
	if err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command(h.sops, "encrypt", "--input-type", "json", "--output-type", "json", "--age",
		testRecipient, "--filename-override", name)
	cmd.Stdin, cmd.Dir = bytes.NewReader(data), h.dir
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("sops: %v", err)
	}
	return h.write(name, string(out))
}

// manifest writes one for the secrets of a sops file, each at /etc/NAME, and further entries.
func (h host) manifest(name, sopsFile string, secrets []string, entries ...map[string]any) string {
	h.Helper()
	m := map[string]any{"version": 1, "ageKeyFile": h.path("key.txt")}
	var list []map[string]any
	for _, s := range secrets {
		list = append(list, map[string]any{"name": s, "key": s, "sopsFile": sopsFile, "format": "json"})
		entries = append(entries, map[string]any{"path": "/etc/" + s, "secret": s})
	}
	m["secrets"], m["entries"] = list, entries
	data, err := json.Marshal(m)
	if err != nil {
		h.Fatal(err)
	}
	return h.write(name, string(data))
}

// run runs the program and wants the given exit status.
func (h host) run(status int, args ...string) (stdout, stderr string) {
	h.Helper()
	var out, errs bytes.Buffer
	got := run(cli.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" },
	})
	if got != status {
		h.Fatalf("sops-initrd %q: exit status %d, want %d\n%s%s", args, got, status, out.Bytes(),
			errs.Bytes())
	}
	return out.String(), errs.String()
}

func (h host) append(manifest, image string, more ...string) {
	h.Helper()
	h.run(cli.Done, append([]string{
		"append", "--manifest", manifest, "--state", h.path("state"),
		image,
	}, more...)...)
}

// segments counts the segments of ours in an image.
func (h host) segments(image string) (n int, size int64) {
	h.Helper()
	opened, err := initrd.Open(image)
	if err != nil {
		h.Fatal(err)
	}
	defer opened.Close()
	layout, err := opened.Layout(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, p := range layout.Parts {
		if p.Segment != nil {
			n++
		}
		if p.Problem != "" {
			h.Errorf("%s: %s", image, p.Problem)
		}
	}
	return n, opened.Size()
}

func TestAppend_aHundredChangesLeaveOneSegment(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	h := newHost(t)
	base, err := compressedArchive(1000)
	if err != nil {
		t.Fatal(err)
	}
	image := h.write("boot/image", string(base))
	h.write("pristine", string(base))
	var manifests []string
	for i := range 4 {
		s := h.encrypt(fmt.Sprintf("s%d.json", i), map[string]string{"luks": fmt.Sprintf("value %d "+
			"of a fixed length", i)})
		manifests = append(manifests, h.manifest(fmt.Sprintf("m%d.json", i), s, []string{"luks"},
			map[string]any{"path": "/host", "source": h.path("host")}))
	}
	seen := make(map[[32]byte]bool)
	var first int64
	for i := range 100 {
		h.write("host", fmt.Sprintf("%03d", i))
		if args := []string{"--base", h.path("pristine")}; i%2 == 0 {
			h.append(manifests[i%len(manifests)], image, args...)
		} else {
			h.append(manifests[i%len(manifests)], image)
		}
		seen[sha256.Sum256(h.read("boot/image"))] = true
		n, size := h.segments(image)
		if first == 0 {
			first = size
		}
		if n != 1 || size != first {
			t.Fatalf("after %d changes: %d segments, %d bytes (first %d)", i+1, n, size, first)
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d different images after 100 changes", len(seen))
	}
	h.run(cli.Done, "remove", image)
	if !bytes.Equal(h.read("boot/image"), base) {
		t.Error("the base is not what it was")
	}
}

func TestAppend_sameBytesInTwoDirectories(t *testing.T) {
	t.Parallel()
	one, two := newHost(t), newHost(t)
	sopsFile := one.read(filepath.Base(one.encrypt("s.json", map[string]string{"a": "1", "b": "2"})))
	for i, h := range []host{one, two} {
		h.write("other-name.json", string(sopsFile))
		h.write("host/sub/file", "x")
		secrets := []string{"a", "b"}
		if i == 1 {
			slices.Reverse(secrets)
		}
		h.append(h.manifest("m.json", h.path("other-name.json"), secrets,
			map[string]any{"path": "/host", "source": h.path("host")}), h.path("image"))
	}
	if !bytes.Equal(one.read("image"), two.read("image")) {
		t.Error("the images differ")
	}
}

// Whatever reads archives reads the same from a segment.
func TestAppend_everyReaderAgrees(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	s := h.encrypt("s.json", map[string]string{"luks": "binary\x01\nvalue", "empty": ""})
	h.write("host/file", "content of a file")
	if err := os.Symlink("file", h.path("host/link")); err != nil {
		t.Fatal(err)
	}
	h.append(h.manifest("m.json", s, []string{"luks", "empty"}, map[string]any{
		"path":   "/host",
		"source": h.path("host"),
	}), h.path("image"))
	f, err := os.Open(h.path("image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	opened, err := initrd.NewImage(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	found, err := opened.Segment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	segment := h.read("image")[found.Offset : found.Offset+found.Length]
	cut := h.write("segment", string(segment))

	records, err := uroot.ReadAllRecords(uroot.Newc.Reader(bytes.NewReader(segment)))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	contents := make(map[string]string)
	for _, r := range records {
		name := strings.TrimPrefix(r.Name, "/")
		want = append(want, name)
		if r.Mode&0o170000 == 0o100000 {
			data, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
			if err != nil {
				t.Fatal(err)
			}
			contents[name] = string(data)
		}
	}
	slices.Sort(want)
	if contents[".initrd-secrets/etc/luks"] != "binary\x01\nvalue" ||
		contents[".initrd-secrets/host/file"] != "content of a file" {
		t.Fatalf("u-root reads %q", contents)
	}
	// lsinitramfs wants a compressed archive behind the plain ones.
	main, err := compressedArchive(100)
	if err != nil {
		t.Fatal(err)
	}
	inMain := []string{"dir", "linked", "init"}
	for _, c := range []struct {
		name string
		list []string
		cat  func(file string) []string
	}{
		{
			"cpio",
			[]string{"cpio", "-it", "--quiet", "-F", cut},
			func(f string) []string {
				return []string{
					"cpio", "-i", "--to-stdout", "--quiet", "-F", cut,
					f,
				}
			},
		},
		{"bsdtar", []string{"bsdtar", "-tf", cut}, func(f string) []string {
			return []string{
				"bsdtar",
				"-xOf", cut, f,
			}
		}},
		{"lsinitramfs", []string{"lsinitramfs", h.write("with-main", string(segment)+string(main))}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ok, err := haveTool(c.name); err != nil {
				t.Fatal(err)
			} else if !ok {
				t.Skipf("%s is not installed", c.name)
			}
			out, err := exec.Command(c.list[0], c.list[1:]...).Output()
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Fields(string(out))
			for i := range got {
				got[i] = strings.TrimPrefix(strings.TrimSuffix(got[i], "/"), "/")
			}
			want := want
			if c.name == "lsinitramfs" {
				want = slices.Concat(want, inMain)
				slices.Sort(want)
			}
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("names, -u-root +%s:\n%s", c.name, d)
			}
			if c.cat == nil {
				return
			}
			for name, content := range contents {
				args := c.cat(name)
				out, err := exec.Command(args[0], args[1:]...).Output()
				if err != nil || string(out) != content {
					t.Errorf("%s: %q, %v; want %q", name, out, err, content)
				}
			}
		})
	}
}

// An image that other users can read is warned about, with what mends it.
func TestAppend_warnsOfAnOpenImage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	open, err := os.MkdirTemp("", "open") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(open) })
	image := filepath.Join(open, "image")
	base, err := compressedArchive(1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(open, 0o755), os.WriteFile(image, base, 0o644), os.Chmod(image,
		0o644)); err != nil {
		t.Fatal(err)
	}
	if everybody, err := hostfile.Readable(image); err != nil || !everybody {
		t.Skipf("the directory for temporary files is closed to others (%v)", err)
	}
	h.write("host", "value")
	manifest := h.manifest("m.json", h.path("none"), nil, map[string]any{
		"path":   "/host",
		"source": h.path("host"),
	})
	_, stderr := h.run(cli.Done, "append", "--manifest", manifest, "--state", h.path("state"), image)
	if want := "warning: image " + image + ": other users of this host can read its " +
		"secrets\nsops-initrd: hint: chmod go= " + image; !strings.Contains(stderr, want) {
		t.Errorf("%q does not say %q", stderr, want)
	}
	if err := os.Chmod(image, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr = h.run(cli.Done, "append", "--manifest", manifest, "--state", h.path("state"),
		image); stderr != "" {
		t.Errorf("of a closed image: %q", stderr)
	}
}

// No value, no key and no digest is ever printed or left anywhere but in an image, whatever is
// wrong.
func TestNothingIsLeaked(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const marker = "PoIsOn"
	values := map[string]string{"plain": marker + "1", "key": "-----BEGIN OPENSSH PRIVATE " +
		"KEY-----\n" + marker + "2\n", "map/x": marker + "3"}
	s := h.encrypt("s.json", values)
	h.write("hostdir/fine", marker+"4")
	h.write("hostdir/with space", marker+"5")
	h.write("not-a-manifest.json", `{"version": "`+"x"+`", "secrets": `)
	foreign := h.write("foreign.txt", otherIdentity+"\n")
	good := h.manifest("good.json", s, []string{"plain"}, map[string]any{
		"path":   "/host",
		"source": h.path("hostdir/fine"),
	})
	loose := h.manifest("loose.json", s, []string{"plain"}, map[string]any{
		"path":   "/key",
		"secret": "plain", "mode": "0444",
	})
	spaces := h.manifest("spaces.json", s, []string{"plain"}, map[string]any{
		"path":   "/host",
		"source": h.path("hostdir"),
	})
	twice := h.manifest("twice.json", s, []string{"plain"},
		map[string]any{"path": "/etc/plain/below", "secret": "plain"})
	missing := h.manifest("missing.json", s, []string{"plain", "none"})
	badKey := h.write("broken-key.json", strings.ReplaceAll(string(h.read("good.json")), "key.txt",
		"broken.txt"))
	h.write("broken.txt", strings.ToLower(testIdentity)+"\n")
	lost := h.write("lost.json", strings.ReplaceAll(string(h.read("good.json")), h.path("key.txt"),
		foreign))
	tampered := h.write("tampered.json", strings.ReplaceAll(string(h.read("good.json")), s,
		h.write("t.json", strings.Replace(string(h.read("s.json")), "data:", "data:A", 1))))

	forbidden := []string{marker, testIdentity, strings.ToLower(testIdentity), otherIdentity}
	for _, v := range values {
		forbidden = append(forbidden, fmt.Sprintf("%x", sha256.Sum256([]byte(v))))
	}
	var outputs strings.Builder
	do := func(args ...string) {
		var out bytes.Buffer
		run(cli.Env{
			Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
			Getenv: func(string) string { return "" },
		})
		fmt.Fprintf(&outputs, "%q\n%s", args, out.Bytes())
	}
	image, state := h.path("boot/image"), h.path("state")
	h.write("boot/torn", "")
	for range 2 { // the second time there is something in the image
		for _, m := range []string{
			good, loose, spaces, twice, missing, badKey, lost, tampered,
			h.path("not-a-manifest.json"), h.path("s.json"), h.path("key.txt"),
		} {
			do("check", m)
			do("check", "--json", m)
			for _, i := range []string{image, h.path("boot/torn"), h.path("boot")} {
				do("plan", "--manifest", m, "--state", state, i)
				do("plan", "--json", "--manifest", m, "--state", state, i)
				do("append", "--manifest", m, "--state", state, i)
				do("append", "--manifest", m, "--state", state, "--base", h.path("hostdir/fine"), i)
				do("append", "--manifest", m, "--state", state, "--enclose", i+".enclosed")
				do("verify", "--manifest", m, i)
				do("inspect", i)
				do("inspect", "--json", i)
			}
		}
		if data := h.read("boot/image"); len(data) > 600 {
			h.write("boot/torn", string(data[:len(data)-600]))
			n := initrd.Padding(0)
			forbidden = append(forbidden, fmt.Sprintf("%x", sha256.Sum256(data[n:])), fmt.Sprintf("%x",
				sha256.Sum256(data)))
		}
	}
	do("inspect", h.path("boot/torn"))
	do("inspect", h.path("key.txt"))
	for _, m := range []string{good, badKey, lost, tampered} {
		do("diagnose", "--manifest", m)
		do("diagnose", "--json", "--manifest", m, s)
	}
	do("status", "--boot", h.path("boot"))
	do("status", "--json", "--boot", h.path("boot"))
	do("install-loader", "--loader", "limine", "--boot", h.path("boot"), "--", "false", h.dir)
	do("remove", h.path("boot/torn"))
	for _, f := range forbidden {
		if at := strings.Index(strings.ToLower(outputs.String()), strings.ToLower(f)); at >= 0 {
			t.Errorf("%q is printed: …%q", f, outputs.String()[max(0, at-200):min(outputs.Len(), at+100)])
		}
	}
	if !strings.Contains(outputs.String(), "/.initrd-secrets/etc/plain") {
		t.Error("no command got as far as the entries")
	}

	allowed := []string{"hostdir/", "boot/", "boot.enclosed"} // images, and what they are made of
	err := filepath.WalkDir(h.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(h.dir, name)
		if bytes.Contains(data, []byte(marker)) && !slices.ContainsFunc(allowed,
			func(a string) bool { return strings.HasPrefix(rel, a) }) {
			t.Errorf("%s has plaintext", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
