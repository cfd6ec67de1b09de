package initrd_test

import (
	"bytes"
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

func Example() {
	_, image, remove := scratch()
	defer remove()

	segment, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/.initrd-secrets/etc/luks.key", Mode: 0o400, Data: []byte("correct horse")},
	}, sha256.Sum256([]byte("what the entries were made from")))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		res, err := initrd.Install(image, segment, initrd.Options{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Action, res.Base, res.Written)
	}
	// Output:
	// appended 124 1432
	// unchanged 124 0
}

func ExampleNewSegment() {
	_, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/.initrd-secrets/etc/key", Mode: 0o400, Data: []byte("a")},
		{Path: "/.initrd-secrets/etc/key", Mode: 0o400, Data: []byte("b")},
		{Path: "/.initrd-secrets/my key", Mode: 0o400, Data: []byte("c")},
	}, initrd.Digest{})
	fmt.Println(err)
	// Output:
	// entry "/.initrd-secrets/my key": ' ' in the path: stage 1 would not copy this file to its place
}

func ExampleSegment_Entries() {
	segment, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/.initrd-secrets/etc/wg.key", Mode: 0o440, UID: 152, GID: 152, Data: []byte("secret")},
	}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range segment.Entries() {
		fmt.Println(e.Mode, e.UID, e.GID, e.Size, e.Path)
	}
	// Output:
	// drwxr-xr-x 0 0 0 /.initrd-secrets
	// drwxr-xr-x 0 0 0 /.initrd-secrets/etc
	// -r--r----- 152 152 6 /.initrd-secrets/etc/wg.key
}

// A boot loader that installs a copy of a pristine initrd, and whose copy others may have appended to.
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
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400}}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Install(image, segment, initrd.Options{Base: pristine})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Action, "cut:", res.Cut)
	// Output:
	// appended cut: 27
}

// Plan tells what would happen and writes nothing.
func ExamplePlan() {
	dir, _, remove := scratch()
	defer remove()
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400}}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	missing := filepath.Join(dir, "a-name-that-GRUB-gives")
	plan, err := initrd.Plan(missing, segment, initrd.Options{})
	fmt.Println(plan.Action, plan.OldSize, plan.Size, err)
	_, err = os.Stat(missing)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// created -1 1144 <nil>
	// true
}

func ExampleRemove() {
	_, image, remove := scratch()
	defer remove()
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400}}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := initrd.Install(image, segment, initrd.Options{}); err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Remove(image, initrd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	now, err := os.ReadFile(image)
	fmt.Println(res.Action, bytes.Equal(now, emptyArchive()), err)
	// Output:
	// removed true <nil>
}

func ExampleVerify() {
	inputs := initrd.Digest(sha256.Sum256([]byte("today's secrets")))
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400}}, inputs)
	if err != nil {
		log.Fatal(err)
	}
	b, err := segment.Bytes(0)
	if err != nil {
		log.Fatal(err)
	}
	image := append(make([]byte, initrd.Padding(0)), b...)

	fmt.Println(initrd.Verify(bytes.NewReader(image), int64(len(image)), &inputs))
	other := initrd.Digest(sha256.Sum256([]byte("yesterday's secrets")))
	fmt.Println(initrd.Verify(bytes.NewReader(image), int64(len(image)), &other))
	image = image[:len(image)-1]
	fmt.Println(initrd.Verify(bytes.NewReader(image), int64(len(image)), nil))
	// Output:
	// <nil>
	// segment was made from other inputs
	// no segment of ours at the end of the image
}

func ExampleInspect() {
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400, Data: []byte("secret")}}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	image := emptyArchive()
	b, err := segment.Bytes(int64(len(image)))
	if err != nil {
		log.Fatal(err)
	}
	image = append(image, make([]byte, initrd.Padding(int64(len(image))))...)
	image = append(image, b...)

	layout, err := initrd.Inspect(bytes.NewReader(image), int64(len(image)))
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
	// segment 128 1148
	//   drwxr-xr-x /.initrd-secrets 0
	//   -r-------- /.initrd-secrets/key 6
}

// A segment can be taken out of one image and put into another without the secrets' sources.
func ExampleExtract() {
	_, image, remove := scratch()
	defer remove()
	segment, err := initrd.NewSegment([]initrd.Entry{{Path: "/.initrd-secrets/key", Mode: 0o400}}, initrd.Digest{})
	if err != nil {
		log.Fatal(err)
	}
	old, err := segment.Bytes(0)
	if err != nil {
		log.Fatal(err)
	}
	old = append(make([]byte, initrd.Padding(0)), old...)

	found, err := initrd.Find(bytes.NewReader(old), int64(len(old)))
	if err != nil {
		log.Fatal(err)
	}
	salvaged, err := initrd.Extract(bytes.NewReader(old), found)
	if err != nil {
		log.Fatal(err)
	}
	res, err := initrd.Install(image, salvaged, initrd.Options{})
	fmt.Println(res.Action, res.Sum == found.Sum, err)
	// Output:
	// appended true <nil>
}
