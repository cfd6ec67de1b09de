package initrd

import (
	"bytes"
	"errors"
	"io"
)

// spans reads pieces of a file as one.
type spans struct {
	r    io.ReaderAt
	keep []span
}

func (s *spans) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for _, k := range s.keep {
		if off >= k.n {
			off -= k.n
			continue
		}
		n := min(int64(len(p)-done), k.n-off)
		m, err := s.r.ReadAt(p[done:done+int(n)], k.off+off)
		done += m
		if int64(m) < n {
			return done, err
		}
		if off = 0; done == len(p) {
			return done, nil
		}
	}
	return done, io.EOF
}

const compareBytes = 256 << 10

// commonPrefix returns how many bytes at the beginning of two files are equal.
func commonPrefix(a io.ReaderAt, aSize int64, b io.ReaderAt, bSize int64) (int64, error) {
	size := min(aSize, bSize)
	x, y := make([]byte, min(size, compareBytes)), make([]byte, min(size, compareBytes))
	for off := int64(0); ; off += compareBytes {
		n := min(size-off, compareBytes)
		if n <= 0 {
			return size, nil
		}
		if err := errors.Join(readAt(a, x[:n], off), readAt(b, y[:n], off)); err != nil {
			return 0, err
		}
		if bytes.Equal(x[:n], y[:n]) {
			continue
		}
		for i := range n {
			if x[i] != y[i] {
				return off + i, nil
			}
		}
	}
}

// sameEnds compares the first and the last bytes of the first n.
func sameEnds(a, b io.ReaderAt, n int64) (bool, error) {
	size := min(n, bufferBytes)
	x, y := make([]byte, size), make([]byte, size)
	for _, off := range []int64{0, n - size} {
		if err := errors.Join(readAt(a, x, off), readAt(b, y, off)); err != nil {
			return false, err
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
}

// onlyNULs reports whether a piece of a file is nothing but NULs.
func onlyNULs(r io.ReaderAt, from, to int64) bool {
	buf := make([]byte, bufferBytes)
	for from < to {
		n := min(to-from, bufferBytes)
		if readAt(r, buf[:n], from) != nil || len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return false
		}
		from += n
	}
	return true
}
