package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sops-initrd/internal/atomicfile"
)

const page = 4096

// mountTmpfs mounts a tmpfs of so many pages.
func mountTmpfs(t testing.TB, pages int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", pages*page))
	return dir
}

func mount(t testing.TB, source, dir, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, dir, fstype, flags, data); err != nil {
		t.Skipf("mount %s: %v", fstype, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// On a real full file system, for every amount of room: a second copy where there is room for one, else the end is overwritten
// where that may be done, else an error that says how much is missing, and nothing has changed.
func TestInstall_full(t *testing.T) {
	t.Parallel()
	plain := newc(rec{"f", typeRegular | 0o644, string(noise(1, 5*page))})
	old, next := mustSegment(t, secrets("old"), Digest{1}), mustSegment(t, secrets("next", string(noise(2, 2*page))), Digest{2})
	pages := func(b []byte) int { return (len(b) + page - 1) / page }
	want := join(t, plain, next)
	for _, c := range []struct {
		name  string
		image []byte
		allow bool
		whole bool // there is a whole segment to lose
	}{
		{"first segment", plain, false, false},
		{"torn segment", join(t, plain, old)[:len(plain)+500], false, false},
		{"whole segment", join(t, plain, old), false, true},
		{"whole segment, allowed", join(t, plain, old), true, true},
		{"new file", nil, false, false},
	} {
		want, missingWhat := want, "a second copy of the image takes"
		if c.image == nil {
			want = join(t, nil, next)
		}
		for free := range pages(want) + 2 {
			t.Run(fmt.Sprintf("%s, %d pages free", c.name, free), func(t *testing.T) {
				t.Parallel()
				b := &boot{t: t, dir: mountTmpfs(t, pages(c.image)+free+1)}
				b.image = filepath.Join(b.dir, "initrd")
				if c.image != nil {
					writeFile(t, b.image, c.image)
				}
				writeFile(t, filepath.Join(b.dir, "filler"), make([]byte, page))
				copies := free >= pages(want)
				inPlace := !copies && c.image != nil && (!c.whole || c.allow) && free >= pages(want)-pages(c.image)
				res, err := Install(b.image, next, Options{AllowInPlace: c.allow})
				if copies || inPlace {
					if err != nil || res.InPlace != inPlace {
						t.Fatalf("%+v, %v", res, err)
					}
					if got := readFile(t, b.image); !bytes.Equal(got, want) {
						t.Errorf("image of %d bytes", len(got))
					}
					return
				}
				var full *NoSpaceError
				if !errors.As(err, &full) || !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("%+v, %v", res, err)
				}
				needed, what := pages(want), missingWhat
				if c.image != nil && (!c.whole || c.allow) {
					needed, what = pages(want)-pages(c.image), "the longer segment takes"
				}
				if full.Need != int64(needed*page) || full.Free != int64(free*page) || full.Allow != (c.whole && !c.allow) ||
					!strings.Contains(err.Error(), fmt.Sprintf("%s %d bytes and %d are free: %d are missing", what, needed*page, free*page, (needed-free)*page)) {
					t.Errorf("error %v", err)
				}
				if c.image != nil && !bytes.Equal(readFile(t, b.image), c.image) || len(names(t, b.dir)) > 2 {
					t.Errorf("the image or the directory changed: %q", names(t, b.dir))
				}
			})
		}
	}
}

// The same with an ext4 file system, which needs blocks of its own that cannot be foreseen.
func TestInstall_full_ext4(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	writeFile(t, disk, nil)
	if err := os.Truncate(disk, 4<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "", nil, "mkfs.ext4", "-q", "-b", "1024", disk)
	dir := t.TempDir()
	run(t, "", nil, "mount", "-o", "loop", disk, dir)
	t.Cleanup(func() { run(t, "", nil, "umount", dir) })

	plain := newc(rec{"f", typeRegular | 0o644, string(noise(1, 50_000))})
	old, next := mustSegment(t, secrets("old"), Digest{1}), mustSegment(t, secrets("next", string(noise(2, 10_000))), Digest{2})
	image, filler := filepath.Join(dir, "initrd"), filepath.Join(dir, "filler")
	outcomes := map[string]int{}
	for _, first := range [][]byte{plain, join(t, plain, old)} {
		for free := int64(0); free < 80; free += 3 {
			writeFile(t, image, first)
			fillUp(t, dir, filler, free*1024)
			res, err := Install(image, next, Options{})
			got := readFile(t, image)
			var full *NoSpaceError
			switch {
			case err == nil && bytes.Equal(got, join(t, plain, next)):
				outcomes[fmt.Sprintf("%s in place=%v", res.Action, res.InPlace)]++
			case errors.As(err, &full) && bytes.Equal(got, first):
				outcomes["no space"]++
			default:
				t.Errorf("%d KiB free: %+v, %v, image of %d bytes", free, res, err, len(got))
			}
			if n := names(t, dir); len(n) != 3 { // and lost+found
				t.Errorf("%d KiB free: directory holds %q", free, n)
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(outcomes)
	for _, o := range []string{"appended in place=false", "appended in place=true", "replaced in place=false", "no space"} {
		if outcomes[o] == 0 {
			t.Errorf("never: %s", o)
		}
	}
	if outcomes["replaced in place=true"] > 0 {
		t.Error("a whole segment was put at risk without leave")
	}
}

// fillUp writes a file that leaves so many bytes free, or a little less.
func fillUp(t *testing.T, dir, filler string, free int64) {
	t.Helper()
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := atomicfile.OS().OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for {
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		space, err := d.Space()
		if err != nil {
			t.Fatal(err)
		}
		if space.Free <= free {
			return
		}
		if _, err := f.Write(make([]byte, min(space.Free-free, 1<<20))); err != nil {
			return // what is left is kept for metadata
		}
	}
}

func TestInstall_read_only(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, 100)
	b := &boot{t: t, dir: dir, image: filepath.Join(dir, "initrd")}
	s := mustSegment(t, secrets("a"), Digest{1})
	writeFile(t, b.image, join(t, baseArchive(), s))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	b.install(s, Options{}, Unchanged)
	_, err := Install(b.image, mustSegment(t, secrets("b"), Digest{2}), Options{})
	if !errors.Is(err, unix.EROFS) || !bytes.Equal(readFile(t, b.image), join(t, baseArchive(), s)) {
		t.Errorf("error %v", err)
	}
	// A file of secrets that cannot be removed is told of.
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, tempPrefix+"0123456789abcdef.tmp"), []byte("secret"))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	res, err := Install(b.image, s, Options{})
	if err != nil || res.Action != Unchanged || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Text, "could not be removed") {
		t.Errorf("%+v, %v", res, err)
	}
}

// An image of more than 4 GiB, most of it a hole.
func TestInstall_over_4_GiB(t *testing.T) {
	t.Parallel()
	const size = 4<<30 + 12_345
	b := newBoot(t, baseArchive())
	if err := os.Truncate(b.image, size); err != nil {
		t.Skip(err)
	}
	s := mustSegment(t, secrets("a"), Digest{1})
	// No room for a copy: this test would not have it, either.
	o := Options{AllowInPlace: true, layer: fullLayer{Layer: osLayer(), capacity: size + 4096}}
	for _, c := range []struct {
		s    *Segment
		want Action
	}{{s, Appended}, {s, Unchanged}, {mustSegment(t, secrets("b"), Digest{2}), Replaced}} {
		res, err := Install(b.image, c.s, o)
		if err != nil || res.Action != c.want || res.Base != size || res.InPlace != (c.want != Unchanged) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	res, err := Remove(b.image, o)
	if fi, statErr := os.Stat(b.image); err != nil || res.Action != Removed || statErr != nil || fi.Size() != size {
		t.Errorf("%+v, %v, %v", res, err, statErr)
	}
}

// Images that consist of holes in part are images.
func TestInstall_sparse(t *testing.T) {
	t.Parallel()
	b := newBoot(t, baseArchive())
	const size = 10 << 20
	if err := os.Truncate(b.image, size); err != nil {
		t.Fatal(err)
	}
	want := readFile(t, b.image)
	s := mustSegment(t, secrets("a"), Digest{1})
	b.install(s, Options{}, Appended)
	if !bytes.Equal(readFile(t, b.image), join(t, want, s)) {
		t.Error("the image differs")
	}
}

// The mode of a file that others could read before it got its own is 0600 at all times.
func TestInstall_temporary_is_private(t *testing.T) {
	t.Parallel()
	b := newBoot(t, baseArchive())
	if err := os.Chmod(b.image, 0o644); err != nil {
		t.Fatal(err)
	}
	seen := false
	l := &meddler{Layer: atomicfile.OS(), created: func(name string) {
		seen = true
		if fi, err := os.Lstat(filepath.Join(b.dir, name)); err != nil || fi.Mode() != fs.FileMode(0o600) {
			t.Errorf("temporary file %v, %v", fi.Mode(), err)
		}
	}}
	if _, err := Install(b.image, mustSegment(t, secrets("a"), Digest{}), Options{layer: l}); err != nil || !seen {
		t.Error(seen, err)
	}
}
