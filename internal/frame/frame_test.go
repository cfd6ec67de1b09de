package frame

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// sizes are around the limits of blocks.
var sizes = []int{1, 2, 4, 1000, maxBlock - 1, maxBlock, maxBlock + 1, 2 * maxBlock, 3*maxBlock + 17}

func sample(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 % 251)
	}
	return data
}

func TestWrap_everyDecoderReadsIt(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("zstd")
	for _, n := range sizes {
		data := sample(n)
		file, err2 := Wrap(data)
		if err2 != nil {
			t.Fatal(err2)
		}
		if !bytes.Equal(file[:lead], make([]byte, lead)) {
			t.Errorf("%d bytes: does not begin with %d NULs", n, lead)
		}
		own, err2 := Unwrap(bytes.NewReader(file), int64(len(file)))
		if err2 != nil || !bytes.Equal(own, data) {
			t.Errorf("%d bytes: Unwrap: %d bytes, %v", n, len(own), err2)
		}
		dec, err2 := zstd.NewReader(bytes.NewReader(file[lead:]))
		if err2 != nil {
			t.Fatal(err2)
		}
		got, err2 := io.ReadAll(dec)
		dec.Close()
		if err2 != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: another library reads %d bytes, %v", n, len(got), err2)
		}
		if err == nil {
			cmd := exec.Command("zstd", "-dc")
			cmd.Stdin = bytes.NewReader(file[lead:])
			if got, err2 := cmd.Output(); err2 != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: the zstd program reads %d bytes, %v", n, len(got), err2)
			}
		}
	}
}

func TestWrap_refuses(t *testing.T) {
	t.Parallel()
	if _, err := Wrap(nil); err == nil {
		t.Error("nothing was enclosed")
	}
}

func TestUnwrap_refusesEveryChangeOfItsStructure(t *testing.T) {
	t.Parallel()
	data := sample(maxBlock + 5)
	file, err := Wrap(data)
	if err != nil {
		t.Fatal(err)
	}
	second := lead + headerBytes + blockHeader + maxBlock
	for _, at := range []int{0, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16, second, second + 1, second + 2} {
		bad := bytes.Clone(file)
		bad[at] ^= 1
		if got, err := Unwrap(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrOther) {
			t.Errorf("byte %d changed: %d bytes, %v", at, len(got), err)
		}
	}
	for _, n := range []int{0, 1, lead + headerBytes, len(file) - 1} {
		if got, err := Unwrap(bytes.NewReader(file), int64(n)); !errors.Is(err, ErrOther) {
			t.Errorf("cut to %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	longer := append(bytes.Clone(file), 0)
	if _, err := Unwrap(bytes.NewReader(longer), int64(len(longer))); !errors.Is(err, ErrOther) {
		t.Errorf("with a byte behind it: %v", err)
	}
}

func FuzzUnwrap(f *testing.F) {
	for _, n := range []int{1, 5, 300} {
		file, err := Wrap(sample(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		data, err := Unwrap(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		if again, err := Wrap(data); err != nil || !bytes.Equal(again, file) {
			t.Errorf("%x is accepted, but would be written as %x (%v)", file, again, err)
		}
	})
}
