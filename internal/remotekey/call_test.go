package remotekey

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// connection answers with what it holds and keeps what is written.
type connection struct {
	io.Reader
	written bytes.Buffer
}

func (c *connection) Write(p []byte) (int, error) { return c.written.Write(p) }

func frame(kind, flags byte, stream uint32, payload string) string {
	var b bytes.Buffer
	putFrame(&b, kind, flags, stream, []byte(payload))
	return b.String()
}

func fields(pairs ...string) string {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // into memory
	}
	return b.String()
}

func TestExchange(t *testing.T) {
	t.Parallel()
	begin := frame(frameSettings, 0, 0, "\x00\x03\x00\x00\x00\x64") + frame(frameSettings, flagAck, 0, "")
	ok := frame(frameHeaders, flagEndHeaders, 1, fields(":status", "200", "content-type", "application/grpc"))
	data := frame(frameData, 0, 1, string(envelope(message("\x0a\x03key"))))
	end := frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields("grpc-status", "0"))
	padded := func(text string) string { return "\x02" + text + "\x00\x00" }
	for _, c := range []struct{ name, reply, want, fault string }{
		{"plain", begin + ok + data + end, "key", ""},
		{"in pieces", begin + ok + frame(frameData, 0, 1, "\x00\x00\x00\x00\x05\x0a") + frame(frameData, 0, 1, "\x03key") + end, "key", ""},
		{
			"padded and with priority", begin + frame(frameHeaders, flagEndHeaders|flagPadded|flagPriority, 1, padded("\x00\x00\x00\x00\x10"+fields(":status", "200"))) +
				frame(frameData, flagPadded, 1, padded(string(envelope(message("\x0a\x03key"))))) + end, "key", "",
		},
		{"continued", begin + frame(frameHeaders, 0, 1, ok[9:12]) + frame(frameContinuation, flagEndHeaders, 1, ok[12:]) + data + end, "key", ""},
		{"fields that are not known", begin + ok + frame(frameData, 0, 1, string(envelope(message("\x10\x05\x0a\x01k\x1a\x01x\x21abcdefgh\x2dabcd")))) + end, "k", ""},
		{"pings, windows, other frames", begin + frame(framePing, 0, 0, "12345678") + frame(8, 0, 0, "\x00\x00\x10\x00") + frame(8, 0, 1, "\x00\x00\x10\x00") + frame(0xbe, 0, 1, "x") + ok + data + end, "key", ""},
		{"an error", begin + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(":status", "200", "grpc-status", "2", "grpc-message", "no%20such key")), "", "no such key"},
		{"an error without a word", begin + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(":status", "404")), "", `HTTP status "404"`},
		{"given up", begin + frame(frameReset, 0, 1, "\x00\x00\x00\x08"), "", "gave the call up"},
		{"ending", begin + frame(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"), "", "is ending"},
		{"closed", begin + ok, "", "unexpected EOF"},
		{"closed in a frame", begin + ok + data[:len(data)-1], "", "unexpected EOF"},
		{"large frame", begin + "\x01\x00\x00\x00\x00\x00\x00\x00\x01", "", "frame of 65536 bytes"},
		{"large answer", begin + ok + strings.Repeat(frame(frameData, 0, 1, strings.Repeat("x", maxFrameBytes)), 3), "", "more than"},
		{"no message", begin + ok + end, "", "form that is not understood"},
		{"compressed", begin + ok + frame(frameData, 0, 1, "\x01\x00\x00\x00\x01x") + end, "", "form that is not understood"},
		{"wrong length", begin + ok + frame(frameData, 0, 1, "\x00\x00\x00\x00\x09x") + end, "", "form that is not understood"},
		{"wrong message", begin + ok + frame(frameData, 0, 1, string(envelope(message("\x0a\x09key")))) + end, "", "form that is not understood"},
		{"too much padding", begin + frame(frameData, flagPadded, 1, "\x09x"), "", "malformed"},
		{"no headers", begin + frame(frameHeaders, flagEndHeaders, 1, "\xff\xff\xff\xff\xff\xff\xff"), "", "read the answer"},
	} {
		wire := &connection{Reader: strings.NewReader(c.reply)}
		answer, err := exchange(wire, "/KeyService/Decrypt", message("request"))
		var got []byte
		if err == nil {
			got, err = answer.plaintext()
		}
		switch {
		case c.fault == "" && (err != nil || string(got) != c.want):
			t.Errorf("%s: %q, %v", c.name, got, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.fault)
		}
		written := wire.written.String()
		if !strings.HasPrefix(written, http2Preface+frame(frameSettings, 0, 0, "")) || !strings.Contains(written, frame(frameSettings, flagAck, 0, "")) {
			t.Errorf("%s: sent %q", c.name, written)
		}
		if strings.Contains(c.name, "pings") != strings.Contains(written, frame(framePing, flagAck, 0, "12345678")) {
			t.Errorf("%s: pings are not answered: %q", c.name, written)
		}
	}
}

func TestCall_ends(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, ours, "/", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := call(t.Context(), ours, "/", make(message, maxFrameBytes)); err == nil {
		t.Error("a request that is too large was sent")
	}
}

// FuzzExchange: whatever the other side sends, there is an end and no panic.
func FuzzExchange(f *testing.F) {
	f.Add([]byte(frame(frameSettings, 0, 0, "") + frame(frameHeaders, flagEndHeaders, 1, fields(":status", "200")) +
		frame(frameData, flagPadded, 1, "\x00"+string(envelope(message("\x0a\x01k")))) + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields("grpc-status", "0"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, err := exchange(&connection{Reader: bytes.NewReader(data)}, "/", nil)
		if err == nil {
			_, err = answer.plaintext()
		}
		_ = err // either way is right
	})
}
