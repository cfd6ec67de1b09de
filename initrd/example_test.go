package initrd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/initrd"
)

// scratch makes a directory with an image for an example: a cpio archive with nothing in it.
func scratch() (dir, image string, remove func()) {
	dir, err := os.MkdirTemp("", "initrd-example-")
	if err != nil {
		log.Fatal(err)
	}
	image = filepath.Join(dir, "initrd")
	if err := os.WriteFile(image, emptyArchive(), 0o600); err != nil {
		log.Fatal(err)
	}
	return dir, image, func() {
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

func emptyArchive() []byte {
	header := "070701" + fmt.Sprintf("%088d", 0) + "0000000B" + "00000000"
	return append([]byte(header+"TRAILER!!!"), make([]byte, 4)...)
}

// segment has one file.
func segment(content string) *initrd.Segment {
	s, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/etc/luks.key", Mode: 0o400, Data: []byte(content)},
	}, sha256.Sum256([]byte("what the entries were made from")), initrd.Profile{})
	if err != nil {
		log.Fatal(err)
	}
	return s
}

func Example() {
	_, image, remove := scratch()
	defer remove()
	ctx := context.Background()

	s, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/etc/luks.key", Mode: 0o400, Data: []byte("correct horse")},
	}, sha256.Sum256([]byte("what the entries were made from")), initrd.Profile{})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		res, err := initrd.Install(ctx, image, s, initrd.Options{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Action, res.Base, res.Written)
	}
	i, err := initrd.Open(image)
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	fmt.Println(i.Verify(ctx, nil))
	entries, err := i.Entries(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e.Mode, e.Size, e.Path)
	}
	// Output:
	// appended 124 1256
	// unchanged 124 0
	// <nil>
	// drwxr-xr-x 0 /etc
	// -r-------- 13 /etc/luks.key
}

// What a stage 1 expects is a profile. This one copies the files of a directory to their places,
// by a shell script.
func ExampleNewSegment() {
	_, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/.secrets/etc/key", Mode: 0o400, Data: []byte("a")},
		{Path: "/.secrets/my key", Mode: 0o400, Data: []byte("b")},
	}, initrd.Digest{}, initrd.Profile{CopyDir: "/.secrets", CannotCopy: " *?["})
	fmt.Println(err)
	// Output:
	// entry "/.secrets/my key": ' ' in the path: stage 1 would not copy this file to its place
}

func ExampleSegment_Entries() {
	s, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/etc/wg.key", Mode: 0o440, UID: 152, GID: 152, Data: []byte("secret")},
	}, initrd.Digest{}, initrd.Profile{})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range s.Entries() {
		fmt.Println(e.Mode, e.UID, e.GID, e.Size, e.Path)
	}
	// Output:
	// drwxr-xr-x 0 0 0 /etc
	// -r--r----- 152 152 6 /etc/wg.key
}

// A boot loader that installs a copy of a pristine initrd, and whose copy others may have
// appended to.
func ExampleInstall_base() {
	dir, image, remove := scratch()
	defer remove()
	pristine := filepath.Join(dir, "pristine")
	if err := os.WriteFile(pristine, emptyArchive(), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(image, append(emptyArchive(), "what somebody else appended"...), 0o600); err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Install(context.Background(), image, segment("key"), initrd.Options{Base: pristine})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Action, "cut:", res.Cut)
	// Output:
	// appended cut: 27
}

// A run that fails says how it left the image.
func ExampleError() {
	dir, _, remove := scratch()
	defer remove()
	image := filepath.Join(dir, "text")
	if err := os.WriteFile(image, []byte("not an initrd"), 0o600); err != nil {
		log.Fatal(err)
	}
	_, err := initrd.Install(context.Background(), image, segment("key"), initrd.Options{})
	var failed *initrd.Error
	if errors.As(err, &failed) && failed.State == initrd.Untouched {
		fmt.Println("nothing happened")
	}
	// Output:
	// nothing happened
}

// Plan tells what would happen and writes nothing.
func ExamplePlan() {
	dir, _, remove := scratch()
	defer remove()
	missing := filepath.Join(dir, "a-name-that-GRUB-gives")
	plan, err := initrd.Plan(context.Background(), missing, segment("key"), initrd.Options{})
	fmt.Println(plan.Action, plan.OldSize, plan.Size, err)
	_, err = os.Stat(missing)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// created -1 1120 <nil>
	// true
}

func ExampleRemove() {
	_, image, remove := scratch()
	defer remove()
	ctx := context.Background()
	if _, err := initrd.Install(ctx, image, segment("key"), initrd.Options{}); err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Remove(ctx, image, initrd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	now, err := os.ReadFile(image)
	fmt.Println(res.Action, bytes.Equal(now, emptyArchive()), err)
	// Output:
	// removed true <nil>
}

func ExampleImage_Verify() {
	_, image, remove := scratch()
	defer remove()
	ctx := context.Background()
	if _, err := initrd.Install(ctx, image, segment("key"), initrd.Options{}); err != nil {
		log.Fatal(err)
	}
	i, err := initrd.Open(image)
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	for _, text := range []string{"what the entries were made from", "something else"} {
		inputs := initrd.Digest(sha256.Sum256([]byte(text)))
		fmt.Println(i.Verify(ctx, &inputs))
	}
	// Output:
	// <nil>
	// segment was made from other inputs
}

func ExampleImage_Layout() {
	_, image, remove := scratch()
	defer remove()
	ctx := context.Background()
	if _, err := initrd.Install(ctx, image, segment("secret"), initrd.Options{}); err != nil {
		log.Fatal(err)
	}
	i, err := initrd.Open(image)
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	layout, err := i.Layout(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range layout.Parts {
		fmt.Println(p.Kind, p.Offset, p.Size)
		for _, f := range p.Files {
			fmt.Println(" ", f.Mode, f.Path, f.Size)
		}
	}
	// Output:
	// cpio 0 124
	// padding 124 4
	// segment 128 1120
	//   drwxr-xr-x /etc 0
	//   -r-------- /etc/luks.key 6
}

// A segment can be taken out of one image and put into another without the secrets' sources.
func ExampleImage_Extract() {
	dir, image, remove := scratch()
	defer remove()
	ctx := context.Background()
	old := filepath.Join(dir, "old")
	before, err := initrd.Install(ctx, old, segment("key"), initrd.Options{Enclose: true})
	if err != nil {
		log.Fatal(err)
	}
	i, err := initrd.Open(old)
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	salvaged, err := i.Extract(ctx, initrd.Profile{})
	if err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Install(ctx, image, salvaged, initrd.Options{})
	fmt.Println(res.Action, res.Sum == before.Sum, err)
	// Output:
	// appended true <nil>
}
