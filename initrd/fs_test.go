package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
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
		// A child that another test is starting has all open files of this process until it
		// executes its program.
		err := unix.Unmount(dir, 0)
		for deadline := time.Now().Add(10 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = unix.Unmount(dir, 0) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// On a real full file system, for every amount of room: a second copy where there is room for
// one, else the end is overwritten where that may be done, else an error that says how much is
// missing, and nothing has changed.
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
				res, err := Install(ctx, b.image, next, Options{AllowInPlace: c.allow})
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
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	slow(t)
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

	outcomes := fillLevels(t, dir, 3*1024, false)
	for _, o := range []string{"appended in place=false", "appended in place=true", "replaced in place=false", "replaced in place=true", "created in place=false", "no space"} {
		if outcomes[o] == 0 {
			t.Errorf("never: %s", o)
		}
	}
}

// fullEnv names the directory of a small file system that TestInstall_full_named may fill up, and
// the step from one free size to the next, in bytes: "/mnt:512". A guest sets it, whose kernel
// has file systems that this machine's has not.
const fullEnv = "INITRD_TEST_FULL"

func TestInstall_full_named(t *testing.T) {
	dir, text, found := strings.Cut(os.Getenv(fullEnv), ":")
	if !found {
		t.Skipf("only a helper: %s is not set", fullEnv)
	}
	step, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	fillLevels(t, dir, step, true)
}

// FAT has names in two forms and knows no case: whatever the caller calls an image, it is that
// image that is replaced, and it keeps the name it had. The directory is that of
// TestInstall_full_named.
func TestInstall_names_named(t *testing.T) {
	dir, _, found := strings.Cut(os.Getenv(fullEnv), ":")
	if !found {
		t.Skipf("only a helper: %s is not set", fullEnv)
	}
	s, next := mustSegment(t, secrets("a"), Digest{1}), mustSegment(t, secrets("b"), Digest{2})
	for _, c := range []struct{ has, called string }{
		{"INITRD.IMG", "initrd.img"},
		{"initrd.img", "INITRD.IMG"},
		{"initrd-of-a-generation.efi", "INITRD~1.EFI"},
		{"initrd-of-a-generation.efi", "Initrd-Of-A-Generation.EFI"},
		{"two.dots.and a blank", "two.dots.and a blank"},
	} {
		for _, n := range names(t, dir) {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
		writeFile(t, filepath.Join(dir, c.has), baseArchive())
		called := filepath.Join(dir, c.called)
		for _, step := range []struct {
			s    *Segment
			want Action
		}{{s, Appended}, {s, Unchanged}, {next, Replaced}} {
			res, err := Install(ctx, called, step.s, Options{})
			if err != nil || res.Action != step.want || !bytes.Equal(readFile(t, filepath.Join(dir, c.has)), join(t, baseArchive(), step.s)) {
				t.Errorf("%+v: %+v, %v", c, res, err)
			}
			if n := names(t, dir); len(n) != 1 || !strings.EqualFold(n[0], c.has) {
				t.Errorf("%+v: directory holds %q", c, n)
			}
		}
		if res, err := Remove(ctx, called, Options{}); err != nil || res.Action != Removed || !bytes.Equal(readFile(t, filepath.Join(dir, c.has)), baseArchive()) {
			t.Errorf("%+v: %+v, %v", c, res, err)
		}
	}
	_, err := Install(ctx, filepath.Join(dir, "what?"), s, Options{})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("a name that FAT does not have: %v", err)
	}
}

// fillLevels installs with every amount of room, up to more than enough, on a file system that
// has little. An exact one needs no room but for the files' content. It returns how often what
// came out.
func fillLevels(t *testing.T, dir string, step int64, exact bool) map[string]int {
	t.Helper()
	plain := newc(rec{"f", typeRegular | 0o644, string(noise(1, 50_000))})
	old, next := mustSegment(t, secrets("old"), Digest{1}), mustSegment(t, secrets("next", string(noise(2, 10_000))), Digest{2})
	image, filler := filepath.Join(dir, "initrd"), filepath.Join(dir, "filler")
	outcomes := map[string]int{}
	for _, c := range []struct {
		first        []byte // nil: there is no image
		allow, whole bool
	}{{first: plain}, {first: join(t, plain, old)[:len(plain)+300]}, {first: join(t, plain, old), whole: true}, {first: join(t, plain, old), whole: true, allow: true}, {}} {
		want := join(t, plain, next)
		if c.first == nil {
			want = join(t, nil, next)
		}
		levels := int64(len(want)) + 16*1024
		end := levels
		if !exact {
			end += 256 * 1024 // what the file system keeps for itself differs between versions of it and of mkfs
		}
		for free := int64(0); free < end; free += step {
			if free > levels {
				free += 7 * step
			}
			name := fmt.Sprintf("%+v of %d bytes, %d bytes free", c.allow, len(c.first), free)
			if err := os.Remove(image); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if c.first != nil {
				writeFile(t, image, c.first)
			}
			space := fillUp(t, dir, filler, free)
			res, err := Install(ctx, image, next, Options{AllowInPlace: c.allow})
			got, readErr := os.ReadFile(image)
			if readErr != nil && (c.first != nil || !errors.Is(readErr, fs.ErrNotExist)) {
				t.Fatal(readErr)
			}
			copies := space.Round(int64(len(want))) <= space.Free
			inPlace := !copies && c.first != nil && (!c.whole || c.allow) && space.Round(int64(len(want)))-space.Round(int64(len(c.first))) <= space.Free
			var full *NoSpaceError
			switch {
			case err == nil && bytes.Equal(got, want):
				outcomes[fmt.Sprintf("%s in place=%v", res.Action, res.InPlace)]++
				if exact && !copies && !inPlace || res.InPlace && c.whole && !c.allow {
					t.Errorf("%s: %+v", name, res)
				}
			case errors.As(err, &full) && bytes.Equal(got, c.first):
				outcomes["no space"]++
				if exact && (copies || inPlace || full.Free != space.Free || full.Need <= full.Free) || full.Allow != (c.whole && !c.allow) {
					t.Errorf("%s: %v", name, err)
				}
			default:
				t.Errorf("%s: %+v, %v, image of %d bytes", name, res, err, len(got))
			}
			for _, n := range names(t, dir) {
				if n != "initrd" && n != "filler" && n != "lost+found" {
					t.Errorf("%s: left behind: %q", name, n)
				}
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(outcomes)
	return outcomes
}

// fillUp writes a file that leaves so many bytes free, or a little less, and says how many.
func fillUp(t *testing.T, dir, filler string, free int64) atomicfile.Space {
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
			return space
		}
		if _, err := f.Write(make([]byte, min(space.Free-free, 1<<20))); err != nil {
			return space // what is left is kept for metadata
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
	_, err := Install(ctx, b.image, mustSegment(t, secrets("b"), Digest{2}), Options{})
	if !errors.Is(err, unix.EROFS) || !bytes.Equal(readFile(t, b.image), join(t, baseArchive(), s)) {
		t.Errorf("error %v", err)
	}
	// A file of secrets that cannot be removed is told of.
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".sops-initrd-0123456789abcdef.tmp"), []byte("secret"))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	res, err := Install(ctx, b.image, s, Options{})
	if err != nil || res.Action != Unchanged || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Text, "could not be removed") {
		t.Errorf("%+v, %v", res, err)
	}
}

// An image of more than 4 GiB, most of it a hole.
func TestInstall_over_4_GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	slow(t)
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
		res, err := Install(ctx, b.image, c.s, o)
		if err != nil || res.Action != c.want || res.Base != size || res.InPlace != (c.want != Unchanged) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	res, err := Remove(ctx, b.image, o)
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
	if _, err := Install(ctx, b.image, mustSegment(t, secrets("a"), Digest{}), Options{layer: l}); err != nil || !seen {
		t.Error(seen, err)
	}
}
