package loadertest

import (
	"bytes"
	"crypto/sha256"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
)

// baseInitrd is a zstd-compressed initrd of about 40 kB whose length is no multiple of 4. Equal
// arguments give equal bytes.
func baseInitrd(kind, salt string) ([]byte, error) {
	for extra := 0; ; extra++ {
		data, err := compressed(kind, salt, extra)
		if err != nil || len(data)%4 != 0 {
			return data, err
		}
	}
}

func compressed(kind, salt string, extra int) ([]byte, error) {
	var noise []byte
	for sum := sha256.Sum256([]byte(kind)); len(noise) < 40000; sum = sha256.Sum256(sum[:]) {
		noise = append(noise, sum[:]...)
	}
	saltSum := sha256.Sum256([]byte(salt))
	var archive bytes.Buffer
	w := cpio.NewWriter(&archive)
	for _, f := range []struct {
		name string
		body []byte
	}{
		{"init", append(noise, make([]byte, extra)...)},
		{"salt", append(saltSum[:], noise[:extra]...)},
	} {
		if err := w.WriteHeader(&cpio.Header{
			Name: f.name, Mode: cpio.TypeReg | 0o755, Links: 1,
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
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return enc.EncodeAll(archive.Bytes(), nil), nil
}
