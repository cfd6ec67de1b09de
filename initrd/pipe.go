package initrd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// pipe reads what a decompressor makes.
type pipe struct {
	buf   *bufio.Reader
	off   int64
	left  int64 // that may come
	limit int64 // of all streams of the image together
	ended bool  // in an orderly way
}

func (s *pipe) Read(p []byte) (int, error) {
	n, err := s.buf.Read(p)
	return n, s.count(int64(n), err)
}

func (s *pipe) ReadByte() (byte, error) {
	c, err := s.buf.ReadByte()
	if err == nil {
		return c, s.count(1, nil)
	}
	return c, s.count(0, err)
}

func (s *pipe) unread() error {
	s.off--
	s.left++
	return s.buf.UnreadByte()
}

func (s *pipe) discard(n int64) error {
	for n > 0 {
		done, err := s.buf.Discard(int(min(n, 1<<30)))
		n -= int64(done)
		if err := s.count(int64(done), err); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

func (s *pipe) count(n int64, err error) error {
	s.off += n
	s.left -= n
	s.ended = s.ended || errors.Is(err, io.EOF)
	if s.left < 0 {
		return fmt.Errorf("the image unpacks to more than %d bytes, the limit", s.limit)
	}
	return err
}
