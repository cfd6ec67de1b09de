package remotekey

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Types and flags of HTTP/2 frames (RFC 9113, section 6).
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameContinuation = 9

	flagEndStream  = 0x1 // of data and headers
	flagAck        = 0x1 // of settings and pings
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	http2Preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	maxFrameBytes = 16 << 10 // what both sides take without being asked
	maxReplyBytes = 32 << 10 // less than the window of a stream that nobody widens
	onlyStream    = 1
)

// call makes one call over a connection of its own: a request with one message, a reply with one message, in HTTP/2 as gRPC wants it
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Of both no more is here than this takes, instead of a library whose
// start costs more than all else that most runs do. The caller closes the connection; ctx ends the call.
func call(ctx context.Context, connection net.Conn, path string, request message) (message, error) {
	if len(request) > maxFrameBytes-5 {
		return nil, fmt.Errorf("a request of %d bytes is more than sops keyservice takes at once", len(request))
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reply, err := exchange(connection, path, request)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return reply, err
}

func exchange(connection io.ReadWriter, path string, request message) (message, error) {
	out := bytes.NewBufferString(http2Preface)
	putFrame(out, frameSettings, 0, 0, nil)
	putFrame(out, frameHeaders, flagEndHeaders, onlyStream, requestHeaders(path))
	putFrame(out, frameData, flagEndStream, onlyStream, envelope(request))
	if _, err := connection.Write(out.Bytes()); err != nil {
		return nil, err
	}
	r := reply{connection: connection, fields: make(map[string]string)}
	r.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) { r.fields[f.Name] = f.Value })
	for !r.ended {
		if err := r.readFrame(); err != nil {
			return nil, fmt.Errorf("read the answer of sops keyservice: %w", err)
		}
	}
	return r.message()
}

func requestHeaders(path string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	} {
		_ = encoder.WriteField(f) // into memory
	}
	return block.Bytes()
}

// envelope is a message, not compressed, with its length before it.
func envelope(m message) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...) // no longer than a frame
}

func putFrame(w *bytes.Buffer, kind, flags byte, stream uint32, payload []byte) {
	w.Write([]byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags})
	w.Write(binary.BigEndian.AppendUint32(nil, stream))
	w.Write(payload)
}

// reply is what came so far.
type reply struct {
	connection io.ReadWriter
	decoder    *hpack.Decoder
	fields     map[string]string // headers and trailers
	data       []byte
	ended      bool // nothing more comes of the stream
	endsThen   bool // with the headers that are being continued
}

func (r *reply) readFrame() error {
	var head [9]byte
	if _, err := io.ReadFull(r.connection, head[:]); err != nil {
		return noEOF(err)
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	kind, flags := head[3], head[4]
	stream := binary.BigEndian.Uint32(head[5:]) &^ (1 << 31)
	if length > maxFrameBytes {
		return fmt.Errorf("a frame of %d bytes", length)
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(r.connection, payload); err != nil {
		return noEOF(err)
	}
	switch {
	case (kind == frameSettings || kind == framePing) && flags&flagAck == 0:
		answer := payload
		if kind == frameSettings {
			answer = nil
		}
		var out bytes.Buffer
		putFrame(&out, kind, flagAck, 0, answer)
		_, err := r.connection.Write(out.Bytes())
		return err
	case kind == frameGoAway:
		return errors.New("it is ending")
	case stream != onlyStream:
		return nil // of the connection, and nothing that one call needs
	case kind == frameReset:
		return errors.New("it gave the call up")
	case kind == frameData, kind == frameHeaders, kind == frameContinuation:
		return r.take(kind, flags, payload)
	}
	return nil
}

// take takes data and headers.
func (r *reply) take(kind, flags byte, payload []byte) error {
	if kind != frameContinuation {
		var ok bool
		if payload, ok = unpadded(kind, flags, payload); !ok {
			return errors.New("a malformed frame")
		}
		r.endsThen = flags&flagEndStream != 0
	}
	if kind == frameData {
		r.data, r.ended = append(r.data, payload...), r.endsThen
		if len(r.data) > maxReplyBytes {
			return fmt.Errorf("more than %d bytes", maxReplyBytes)
		}
		return nil
	}
	if _, err := r.decoder.Write(payload); err != nil {
		return err
	}
	if flags&flagEndHeaders == 0 {
		return nil
	}
	r.ended = r.endsThen
	return r.decoder.Close()
}

// unpadded takes padding and priority off a frame.
func unpadded(kind, flags byte, payload []byte) ([]byte, bool) {
	padding := 0
	if flags&flagPadded != 0 {
		if len(payload) == 0 {
			return nil, false
		}
		padding, payload = int(payload[0]), payload[1:]
	}
	if kind == frameHeaders && flags&flagPriority != 0 {
		if len(payload) < 5 {
			return nil, false
		}
		payload = payload[5:]
	}
	if padding > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-padding], true
}

// message takes the message out of the whole reply, or the error that the other side reports.
func (r *reply) message() (message, error) {
	if status := r.fields["grpc-status"]; status != "0" {
		text, err := url.PathUnescape(r.fields["grpc-message"])
		if err != nil || text == "" {
			text = fmt.Sprintf("HTTP status %q, gRPC status %q", r.fields[":status"], status)
		}
		return nil, errors.New(text)
	}
	const head = 5
	if len(r.data) < head || r.data[0] != 0 || uint64(binary.BigEndian.Uint32(r.data[1:head])) != uint64(len(r.data)-head) {
		return nil, errMessage
	}
	return r.data[head:], nil
}

// noEOF says that a connection that was closed ended too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
