package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// makeBase writes a compressed initrd of exactly the given size, with a symbolic link /linked
// to a directory and one file that cannot be compressed.
func makeBase(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: base FILE SIZE")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	for filler := size; filler > 0; filler-- {
		data, err := compressedArchive(filler)
		ts.Check(err)
		if len(data) != size {
			continue
		}
		name := ts.MkAbs(args[0])
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		ts.Check(os.WriteFile(name, data, 0o600))
		return
	}
	ts.Fatalf("no archive is %d bytes long", size)
}

func compressedArchive(filler int) ([]byte, error) {
	var archive bytes.Buffer
	w := cpio.NewWriter(&archive)
	for _, f := range []struct {
		name string
		mode cpio.FileMode
		body []byte
	}{
		{"dir", cpio.TypeDir | 0o755, nil},
		{"linked", cpio.TypeSymlink | 0o777, []byte("dir")},
		{"init", cpio.TypeReg | 0o755, noise(filler)},
	} {
		if err := w.WriteHeader(&cpio.Header{
			Name: f.name, Mode: f.mode, Links: 1,
			Size: int64(len(f.body)),
		}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, err
	}
	return enc.EncodeAll(archive.Bytes(), nil), nil
}

// noise is the same n bytes every time, of a kind that no compressor shortens.
func noise(n int) []byte {
	var data []byte
	for i := uint64(0); len(data) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		data = append(data, sum[:]...)
	}
	return data[:n]
}
