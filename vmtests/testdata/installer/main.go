// Command installer is what a guest runs on a file system whose every write is recorded, and what
// the host runs to know what should come out. It installs a segment whose content follows from its
// arguments.
//
//	installer install|in-place [-base FILE] TAG SIZE IMAGE...
//	installer remove|remove-in-place [-base FILE] IMAGE...
//	installer rename-once TAG SIZE IMAGE   write a temporary file, fsync, rename, fsync the directory
//	installer append TAG SIZE IMAGE        >>, as the stock appender does it, and what the
//	                                       kernel then does by itself: it writes it to the disk
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/initrd"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "installer:", err)
		os.Exit(1)
	}
}

func run(mode string, args []string) error {
	flags := flag.NewFlagSet(mode, flag.ContinueOnError)
	base := flags.String("base", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	args = flags.Args()
	opts := initrd.Options{Base: *base, AllowInPlace: strings.HasSuffix(mode, "in-place")}
	if strings.HasPrefix(mode, "remove") {
		for _, image := range args {
			res, err := initrd.Remove(context.Background(), image, opts)
			if err == nil && res.InPlace != opts.AllowInPlace {
				err = fmt.Errorf("%s: %s, in place: %v", image, res.Action, res.InPlace)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	segment, err := initrd.NewSegment([]initrd.Entry{
		{Path: "/.initrd-secrets/key", Mode: 0o400, Data: bytes.Repeat([]byte(args[0]+"\n"),
			size/(len(args[0])+1)+1)[:size]},
	}, initrd.Digest{}, initrd.Profile{CopyDir: "/.initrd-secrets"})
	if err != nil {
		return err
	}
	for _, image := range args[2:] {
		switch mode {
		case "install", "in-place":
			res, err := initrd.Install(context.Background(), image, segment, opts)
			if err != nil {
				return err
			}
			if res.InPlace != opts.AllowInPlace && res.Action != initrd.Unchanged {
				return fmt.Errorf("%s: %s, in place: %v", image, res.Action, res.InPlace)
			}
		case "rename-once":
			err = renameOnce(image, segment)
		case "append":
			err = appendTo(image, segment)
		default:
			return fmt.Errorf("unknown mode %q", mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func whole(image string, segment *initrd.Segment) (old, tail []byte, err error) {
	if old, err = os.ReadFile(image); err != nil {
		return nil, nil, err
	}
	data, err := segment.Bytes(int64(len(old)))
	return old, append(make([]byte, initrd.Padding(int64(len(old)))), data...), err
}

func renameOnce(image string, segment *initrd.Segment) error {
	old, tail, err := whole(image, segment)
	if err != nil {
		return err
	}
	f, err := os.Create(image + ".tmp")
	if err != nil {
		return err
	}
	if _, err := f.Write(append(old, tail...)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(image+".tmp", image); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(image))
	if err != nil {
		return err
	}
	return dir.Sync()
}

func appendTo(image string, segment *initrd.Segment) error {
	_, tail, err := whole(image, segment)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(tail); err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
