package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// DefaultDevice is the TPM behind the kernel's resource manager.
const DefaultDevice = "/dev/tpmrm0"

// ErrNoTPM says that this machine has no TPM under the name that was given.
var ErrNoTPM = errors.New("no TPM")

// maxResponse is what a TPM may answer to one command, in bytes (the kernel's TPM_BUFSIZE).
const maxResponse = 4096

// TPM is an open TPM 2.0. Objects that were loaded are flushed by the methods that loaded them.
type TPM struct {
	conn     io.ReadWriteCloser
	ctx      context.Context //nolint:containedctx // a connection lives as long as one call of the program
	commands int
}

// Dial opens a TPM: a device, or "swtpm:path=SOCKET" or "swtpm:host=HOST,port=PORT" as libtss2
// writes them. All commands end when ctx does. The error wraps [ErrNoTPM] where there is none.
func Dial(ctx context.Context, device string) (*TPM, error) {
	if device == "" {
		device = DefaultDevice
	}
	conn, err := dial(ctx, device)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("open TPM %s: %w: %w", device, ErrNoTPM, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open TPM %s: %w", device, err)
	}
	t := &TPM{conn: conn, ctx: ctx}
	if d, ok := conn.(interface{ SetDeadline(time.Time) error }); ok {
		// A command that is under way ends with ctx; a device that knows no deadlines answers in the end.
		context.AfterFunc(ctx, func() { _ = d.SetDeadline(time.Unix(1, 0)) })
	}
	return t, nil
}

func dial(ctx context.Context, device string) (io.ReadWriteCloser, error) {
	conf, ok := strings.CutPrefix(device, "swtpm:")
	if !ok {
		return os.OpenFile(device, os.O_RDWR, 0)
	}
	fields := map[string]string{"host": "localhost", "port": "2321"}
	for part := range strings.SplitSeq(conf, ",") {
		key, value, _ := strings.Cut(part, "=")
		fields[key] = value
	}
	var d net.Dialer
	if fields["path"] != "" {
		return d.DialContext(ctx, "unix", fields["path"])
	}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(fields["host"], fields["port"]))
}

// Close ends the connection.
func (t *TPM) Close() error { return t.conn.Close() }

// Commands is the number of commands that were sent. Real TPMs need up to seconds for one.
func (t *TPM) Commands() int { return t.commands }

// Send sends one command and reads the answer. A TPM that is busy with itself says so, and is asked
// again (TPM 2.0 Library, part 2, 6.6.3: TPM_RC_RETRY, TPM_RC_TESTING), as the kernel does for its
// own.
func (t *TPM) Send(command []byte) ([]byte, error) {
	t.commands++
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		answer, err := t.send(command)
		if err != nil || len(answer) < 10 || wait > 10*time.Second {
			return answer, err
		}
		switch tpm2.TPMRC(binary.BigEndian.Uint32(answer[6:])) {
		case tpm2.TPMRCRetry, tpm2.TPMRCTesting, tpm2.TPMRCYielded:
		default:
			return answer, nil
		}
		select {
		case <-t.ctx.Done():
			return nil, t.ctx.Err()
		case <-time.After(wait):
		}
	}
}

// send is one exchange of messages (part 3, 5.2).
func (t *TPM) send(command []byte) ([]byte, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := t.conn.Write(command); err != nil {
		return nil, t.failed(err)
	}
	answer := make([]byte, maxResponse)
	for n, size := 0, 10; ; {
		// A device gives an answer in one read, a socket in any number of them.
		k, err := t.conn.Read(answer[n:])
		n += k
		if n >= 6 {
			size = int(binary.BigEndian.Uint32(answer[2:]))
		}
		switch {
		case size < 10 || size > maxResponse:
			return nil, fmt.Errorf("the TPM's answer has an impossible size of %d bytes", size)
		case n >= size:
			return answer[:size], nil
		case err != nil:
			return nil, t.failed(err)
		case n == len(answer):
			return nil, errors.New("the TPM's answer is too long")
		}
	}
}

func (t *TPM) failed(err error) error {
	if t.ctx.Err() != nil {
		return t.ctx.Err()
	}
	return fmt.Errorf("talk to the TPM: %w", err)
}

var _ transport.TPM = (*TPM)(nil)

// Lockout is the protection of a TPM against guessing. When Failures reaches Max, keys that count
// towards it, those of the format [TPM2], are refused until time has passed.
type Lockout struct{ Failures, Max uint32 }

// Near says that more than half of the failures that are allowed have happened.
func (l Lockout) Near() bool { return l.Max > 0 && l.Failures > l.Max/2 }

// Locked says that the TPM refuses keys now.
func (l Lockout) Locked() bool { return l.Max > 0 && l.Failures >= l.Max }

// Lockout reads the counter of failures. It takes one command.
func (t *TPM) Lockout() (Lockout, error) {
	rsp, err := tpm2.GetCapability{
		Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTLockoutCounter), PropertyCount: 2,
	}.Execute(t)
	if err != nil {
		return Lockout{}, fmt.Errorf("read the TPM's lockout counter: %w", err)
	}
	properties, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return Lockout{}, fmt.Errorf("read the TPM's lockout counter: %w", err)
	}
	var l Lockout
	for _, p := range properties.TPMProperty {
		switch p.Property {
		case tpm2.TPMPTLockoutCounter:
			l.Failures = p.Value
		case tpm2.TPMPTMaxAuthFail:
			l.Max = p.Value
		default: // of no use here
		}
	}
	return l, nil
}

// pcrDigest reads registers, which are hashed together as a policy wants them.
func (t *TPM) pcrDigest(selection tpm2.TPMLPCRSelection, hash func([]byte) []byte) ([]byte, error) {
	rsp, err := tpm2.PCRRead{PCRSelectionIn: selection}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("read PCRs: %w", err)
	}
	var all []byte
	for _, d := range rsp.PCRValues.Digests {
		all = append(all, d.Buffer...)
	}
	if len(all) == 0 {
		return nil, errors.New("read PCRs: the TPM has no bank of SHA-256")
	}
	return hash(all), nil
}
