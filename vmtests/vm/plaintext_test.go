package vm

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

const planted = "planted value of the test, long enough to be told from chance"

func find(t *testing.T, disk string, except ...Extent) []Finding {
	t.Helper()
	found, err := FindPlaintext(disk, map[string][]byte{"planted": []byte(planted)}, except...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The search has to be able to find: in every form, at any place, at the seams of its chunks too.
func TestFindPlaintext(t *testing.T) {
	cases := map[string][]byte{
		"plain":           []byte(planted),
		"hex":             []byte(hex.EncodeToString([]byte(planted))),
		"base64":          []byte(base64.StdEncoding.EncodeToString([]byte(planted))),
		"base64, 1 after": []byte(base64.StdEncoding.EncodeToString([]byte("x" + planted + "y"))),
		"base64, 2 after": []byte(base64.StdEncoding.EncodeToString([]byte("xx" + planted + "yy"))),
	}
	for name, form := range cases {
		for _, at := range []int64{0, 1, 4<<20 - 10, 4<<20 + 7, 9 << 20} {
			disk := filepath.Join(t.TempDir(), "disk")
			data := make([]byte, at+int64(len(form)))
			copy(data[at:], form)
			if err := os.WriteFile(disk, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if found := find(t, disk); len(found) != 1 {
				t.Errorf("%s at %d: found %v, want it once", name, at, found)
			}
			if found := find(t, disk, Extent{0, int64(len(data))}); len(found) != 0 {
				t.Errorf("%s at %d: found %v in what does not count", name, at, found)
			}
		}
	}
	if _, err := FindPlaintext(os.DevNull, map[string][]byte{"short": []byte("1234567")}); err == nil {
		t.Error("a value of 7 bytes is looked for")
	}
}

// A file's extents are the file and nothing but the file: with them left out a second copy is still
// found, deleted or not.
func TestExtents(t *testing.T) {
	for _, program := range []string{
		"mkfs.vfat", "mcopy", "mdel", "mshowfat", "mkfs.ext4", "debugfs",
		"dumpe2fs",
	} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	content := bytes.Repeat([]byte("."), 50_000)
	copy(content[40_000:], planted)
	var tree Tree
	tree.File("/dir/image", 0o600, content)
	tree.File("/dir/copy", 0o600, content)
	systems := []struct {
		name    string
		make    func(disk string) error
		extents func(disk, name string) ([]Extent, error)
		remove  func(disk string) *exec.Cmd
	}{
		{
			"vfat",
			func(d string) error { return MakeFAT(t.Context(), &tree, d, 40) },
			func(d, n string) ([]Extent, error) { return FATExtents(t.Context(), d, n) },
			func(d string) *exec.Cmd { return exec.Command("mdel", "-i", d, "::/dir/copy") },
		},
		{
			"ext4",
			func(d string) error { return MakeExt4(t.Context(), &tree, d, 16) },
			func(d, n string) ([]Extent, error) { return Ext4Extents(t.Context(), d, n) },
			func(d string) *exec.Cmd { return exec.Command("debugfs", "-w", "-R", "rm /dir/copy", d) },
		},
	}
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk")
			if err := s.make(disk); err != nil {
				t.Fatal(err)
			}
			image, err := s.extents(disk, "/dir/image")
			if err != nil {
				t.Fatal(err)
			}
			twin, err := s.extents(disk, "/dir/copy")
			if err != nil {
				t.Fatal(err)
			}
			if n := len(find(t, disk)); n != 2 {
				t.Fatalf("%d copies found, want 2", n)
			}
			if n := len(find(t, disk, image...)); n != 1 {
				t.Errorf("%d copies found beside the image, want 1", n)
			}
			if n := len(find(t, disk, slices.Concat(image, twin)...)); n != 0 {
				t.Errorf("%d copies found outside both files", n)
			}
			if _, err := Output(s.remove(disk)); err != nil {
				t.Fatal(err)
			}
			left := find(t, disk, image...)
			if len(left) != 1 {
				t.Fatalf("%d copies found after the second was removed, want it in what is free", len(left))
			}
			if s.name != "vfat" {
				return
			}
			free, err := FATFree(disk)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(find(t, disk, slices.Concat(image, free)...)); n != 0 {
				t.Errorf("%d copies found outside the image and what is free", n)
			}
		})
	}
}
