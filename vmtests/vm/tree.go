package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// Tree is a small file tree in memory, from which an initrd archive or a directory is made. Parents
// are made as they are needed, mode 0755. Adding a path again replaces it.
type Tree struct {
	nodes map[string]cpio.Record
	err   error
}

// File adds a regular file owned by root.
func (t *Tree) File(name string, mode uint32, data []byte) {
	t.add(name, cpio.StaticRecord(data, cpio.Info{Mode: unix.S_IFREG | uint64(mode)}))
}

// Dir adds a directory owned by root.
func (t *Tree) Dir(name string, mode uint32) {
	t.add(name, cpio.StaticRecord(nil, cpio.Info{Mode: unix.S_IFDIR | uint64(mode)}))
}

// Link adds a symbolic link.
func (t *Tree) Link(name, target string) {
	t.add(name, cpio.StaticRecord([]byte(target), cpio.Info{Mode: unix.S_IFLNK | 0o777}))
}

// Copy adds the host's file src as name, following links.
func (t *Tree) Copy(name, src string) {
	data, err := os.ReadFile(src)
	if err != nil {
		t.fail(err)
		return
	}
	info, err := os.Stat(src)
	if err != nil {
		t.fail(err)
		return
	}
	t.File(name, uint32(info.Mode().Perm()), data)
}

// Busybox adds Debian's static busybox with a link for each of its applets that the tree does not
// have already.
func (t *Tree) Busybox() {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.fail(err)
		return
	}
	dir := "/bin/"
	if t.Has("/usr/bin") {
		dir = "/usr/bin/"
	}
	t.Copy(dir+"busybox", busybox)
	t.applets(dir)
}

// applets links the names that the host's busybox knows to the one in dir.
func (t *Tree) applets(dir string) {
	list, err := exec.Command("busybox", "--list").Output()
	if err != nil {
		t.fail(fmt.Errorf("list applets of busybox: %w", err))
		return
	}
	for _, applet := range strings.Fields(string(list)) {
		if !t.Has(dir + applet) {
			t.Link(dir+applet, "busybox")
		}
	}
}

// Program adds a program of the host at its own path, with the libraries that ldd names, each at
// its own path too.
func (t *Tree) Program(name string) {
	file, err := exec.LookPath(name)
	if err != nil {
		t.fail(err)
		return
	}
	t.ProgramAs(file, file)
}

// ProgramAs adds the program file as name, and its libraries at their own paths.
func (t *Tree) ProgramAs(name, file string) {
	t.Copy(name, file)
	t.Libraries(file)
}

// Libraries adds the libraries of the program file, each at its own path; none for a static
// program.
func (t *Tree) Libraries(file string) {
	out, err := exec.Command("ldd", file).CombinedOutput()
	if err != nil {
		if !bytes.Contains(out, []byte("not a dynamic executable")) {
			t.fail(fmt.Errorf("ldd %s: %w: %s", file, err, bytes.TrimSpace(out)))
		}
		return
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			t.Copy(word, word)
		}
	}
}

// Has tells whether the tree has something at the path.
func (t *Tree) Has(name string) bool {
	_, found := t.nodes[strings.TrimPrefix(path.Clean(name), "/")]
	return found
}

func (t *Tree) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *Tree) add(name string, rec cpio.Record) {
	if t.nodes == nil {
		t.nodes = map[string]cpio.Record{}
	}
	name = strings.TrimPrefix(path.Clean(name), "/")
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, found := t.nodes[dir]; !found {
			t.nodes[dir] = cpio.StaticRecord(nil, cpio.Info{Name: dir, Mode: unix.S_IFDIR | 0o755})
		}
	}
	rec.Name = name
	t.nodes[name] = rec
}

func (t *Tree) records() []cpio.Record {
	var recs []cpio.Record
	for _, rec := range t.nodes {
		recs = append(recs, rec)
	}
	sort.Slice(recs, func(i, j int) bool { return recs[i].Name < recs[j].Name })
	for i := range recs {
		recs[i].Ino, recs[i].NLink = uint64(i+1), 1
	}
	return recs
}

// Archive returns the tree as an uncompressed newc archive, or the first fault met while the tree
// was built.
func (t *Tree) Archive() ([]byte, error) {
	if t.err != nil {
		return nil, t.err
	}
	var buf bytes.Buffer
	w := cpio.Newc.Writer(&buf)
	if err := cpio.WriteRecords(w, t.records()); err != nil {
		return nil, err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Populate writes the tree below the directory dir. Owners are those of the caller.
func (t *Tree) Populate(dir string) error {
	if t.err != nil {
		return t.err
	}
	for _, rec := range t.records() {
		file := filepath.Join(dir, rec.Name)
		data := make([]byte, rec.FileSize)
		if _, err := rec.ReadAt(data, 0); len(data) > 0 && err != nil {
			return err
		}
		perm := os.FileMode(rec.Mode & 0o777)
		var err error
		switch rec.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			if err = os.MkdirAll(file, 0o755); err == nil {
				err = os.Chmod(file, perm)
			}
		case unix.S_IFLNK:
			err = os.Symlink(string(data), file)
		default:
			if err = os.WriteFile(file, data, perm); err == nil {
				err = os.Chmod(file, perm)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Compress runs the compressor that image generators use for the named format. "none" gives the
// data back as it is. The kernel accepts of xz only CRC32 checks and of lz4 only the legacy format.
func Compress(format string, data []byte) ([]byte, error) {
	commands := map[string][]string{
		"gzip": {"gzip", "-n", "-1"}, "xz": {"xz", "--check=crc32", "-0"},
		"lzma":  {"xz", "--format=lzma", "-0"},
		"bzip2": {"bzip2", "-1"}, "lz4": {"lz4", "-l", "-c", "-q"}, "zstd": {"zstd", "-q", "-1", "-c"},
	}
	if format == "none" {
		return data, nil
	}
	args, known := commands[format]
	if !known {
		return nil, fmt.Errorf("compress: unknown format %q", format)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("compress with %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
