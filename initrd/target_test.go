package initrd

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestInstall_follows_links(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	for _, target := range []string{"boot/initrd", "./boot/../boot/initrd", "$DIR/boot/initrd"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, baseArchive())
			top := filepath.Dir(b.dir)
			link, second := filepath.Join(top, "link"), filepath.Join(top, "second")
			symlink(t, strings.ReplaceAll(target, "$DIR", top), link)
			symlink(t, "link", second)
			res, err := Install(ctx, second, s, Options{})
			if err != nil || res.Action != Appended {
				t.Fatalf("%+v, %v", res, err)
			}
			b.checkResult(res)
			if fi, err := os.Lstat(link); err != nil || fi.Mode().Type() != fs.ModeSymlink {
				t.Errorf("link is %v, %v", fi.Mode(), err)
			}
		})
	}
	t.Run("to nothing", func(t *testing.T) {
		t.Parallel()
		b := newBoot(t, nil)
		link := filepath.Join(filepath.Dir(b.dir), "link")
		symlink(t, "boot/initrd", link)
		res, err := Install(ctx, link, s, Options{})
		if err != nil || res.Action != Created {
			t.Fatalf("%+v, %v", res, err)
		}
		b.checkResult(res)
	})
}

func symlink(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// A link where others could have made it may point at whatever they like.
func TestInstall_refuses_links_of_others(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	for name, open := range map[string]func(b *boot, dir string) error{
		"mode 0777":          func(_ *boot, dir string) error { return os.Chmod(dir, 0o777) },
		"mode 1777":          func(_ *boot, dir string) error { return os.Chmod(dir, fs.ModeSticky|0o777) },
		"mode 0770":          func(_ *boot, dir string) error { return os.Chmod(dir, 0o770) },
		"mode 0777 (above)":  func(_ *boot, dir string) error { return os.Chmod(filepath.Dir(dir), 0o777) },
		"belongs to user 12": func(_ *boot, dir string) error { return os.Chown(dir, 12, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && strings.Contains(name, "user") {
				t.Skip("only root can give a directory away")
			}
			b := newBoot(t, baseArchive())
			dir := filepath.Join(filepath.Dir(b.dir), "links")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(dir, "initrd")
			symlink(t, b.image, link)
			if err := open(b, dir); err != nil {
				t.Fatal(err)
			}
			_, err := Install(ctx, link, s, Options{})
			want, _, _ := strings.Cut(name, " (")
			if err == nil || !strings.Contains(err.Error(), "is a symbolic link that others could have made") || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v", err)
			}
			if !bytes.Equal(readFile(t, b.image), baseArchive()) {
				t.Error("the image changed")
			}
		})
	}
}

// In a directory like /tmp somebody could have put a file of theirs where the loader's is
// expected.
func TestInstall_planted_image(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	s := mustSegment(t, secrets("a"), Digest{})
	for _, image := range [][]byte{{}, baseArchive()} {
		b := newBoot(t, image)
		if err := os.Chown(b.image, 12, 12); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(b.dir, fs.ModeSticky|0o777); err != nil {
			t.Fatal(err)
		}
		b.fails(s, Options{}, "belongs to uid 12, who may have put it there to read what is written into it")

		if err := os.Chmod(b.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		res, err := Install(ctx, b.image, s, Options{})
		if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Text, "belongs to uid 12, who can read") {
			t.Errorf("%+v, %v", res, err)
		}
		fi, err := os.Stat(b.image)
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != 12 || st.Gid != 12 {
			t.Errorf("owner %d:%d", st.Uid, st.Gid)
		}
	}
}

// Whoever can open the directory can lock it. That holds nobody up.
func TestInstall_directory_locked_by_others(t *testing.T) {
	t.Parallel()
	b := newBoot(t, nil)
	stranger, err := os.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := syscall.Flock(int(stranger.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b.install(mustSegment(t, secrets("a"), Digest{}), Options{}, Created)
}

func TestInstall_warns_of_readers(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	for _, c := range []struct {
		dir, image fs.FileMode
		warn       bool
	}{
		{0o755, 0o644, true},
		{0o711, 0o604, true},
		{0o755, 0o640, true},
		{0o755, 0o600, false},
		{0o700, 0o644, false},
		{0o705, 0o640, false},
	} {
		t.Run(fmt.Sprintf("%v %v", c.dir, c.image), func(t *testing.T) {
			t.Parallel()
			b := newBoot(t, baseArchive())
			top := filepath.Dir(b.dir)
			for path, mode := range map[string]fs.FileMode{top: 0o755, b.dir: c.dir, b.image: c.image} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			if above, err := os.Stat(filepath.Dir(top)); err != nil || above.Mode()&0o011 != 0o011 {
				t.Skip("the scratch directory is not open to others")
			}
			for _, action := range []Action{Appended, Unchanged} {
				res := b.install(s, Options{}, action)
				if got := len(res.Warnings) == 1 && strings.Contains(res.Warnings[0].Text, "other users of this host can read its secrets") &&
					strings.HasPrefix(res.Warnings[0].Hint, "chmod go= "); got != c.warn {
					t.Errorf("%s: warnings %+v", action, res.Warnings)
				}
			}
		})
	}
}

// Another name of the image may be another generation's: it keeps what it had, and is never
// written through.
func TestInstall_hard_link(t *testing.T) {
	t.Parallel()
	s := mustSegment(t, secrets("a"), Digest{})
	b := newBoot(t, baseArchive())
	other := filepath.Join(filepath.Dir(b.dir), "other")
	if err := os.Link(b.image, other); err != nil {
		t.Fatal(err)
	}
	res := b.install(s, Options{}, Appended)
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Text, "has 1 more names, which keep the old content") {
		t.Errorf("warnings %+v", res.Warnings)
	}
	if !bytes.Equal(readFile(t, other), baseArchive()) {
		t.Error("the other name's content changed")
	}
	// Not even where there is no room for a copy.
	b = newBoot(t, baseArchive())
	if err := os.Link(b.image, other+"2"); err != nil {
		t.Fatal(err)
	}
	b.fails(s, Options{AllowInPlace: true, layer: fullLayer{Layer: osLayer(), capacity: int64(len(baseArchive())) + 5000}}, "no space left on device")
}

// Temporary files of runs that were killed hold secrets: the next run removes them, even when it
// has nothing else to do.
func TestInstall_removes_stale_temporaries(t *testing.T) {
	t.Parallel()
	b := newBoot(t, baseArchive())
	s := mustSegment(t, secrets("a"), Digest{})
	stale := filepath.Join(b.dir, ".sops-initrd-0123456789abcdef.tmp")
	for _, action := range []Action{Appended, Unchanged} {
		writeFile(t, stale, []byte("secret"))
		writeFile(t, b.dir+"/.initrd.tmp", []byte("somebody else's"))
		if _, err := Plan(ctx, b.image, s, Options{}); err != nil {
			t.Fatal(err)
		}
		if len(names(t, b.dir)) != 3 {
			t.Errorf("planning removed something: %q", names(t, b.dir))
		}
		res, err := Install(ctx, b.image, s, Options{})
		if err != nil || res.Action != action {
			t.Errorf("%+v, %v", res, err)
		}
		if n := names(t, b.dir); len(n) != 2 {
			t.Errorf("directory holds %q", n)
		}
	}
}
