package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Format is a layout of encrypted credentials. Newer versions of systemd read the older ones.
type Format string

// The formats, by the names that manifests use.
const (
	// Null has no key: anybody can read and make such a credential. It is the form in which a systemd
	// before 262 takes a credential from an initrd without a TPM.
	Null Format = "null"
	// TPM2 is read by every systemd since 250. Its parent key counts towards the lockout of the TPM.
	TPM2 Format = "tpm2"
	// TPM2SRK is read by systemd 262 and newer. Its parent is the storage root key, which the TPM
	// opens during a lockout too.
	TPM2SRK Format = "tpm2-srk"
)

// layout is one row of the table of formats.
type layout struct {
	id  [16]byte // first bytes of a credential (systemd, src/shared/creds-util.h)
	tpm bool     // a header for a sealed object follows
	srk bool     // and one that names the storage root key
}

var layouts = map[Format]layout{
	Null:    {id: [16]byte{0x05, 0x84, 0x69, 0xda, 0xf6, 0xf5, 0x43, 0x24, 0x80, 0x05, 0x49, 0xda, 0x0f, 0x8e, 0xa2, 0xfb}},
	TPM2:    {id: [16]byte{0x0c, 0x7c, 0xc0, 0x7b, 0x11, 0x76, 0x45, 0x91, 0x9c, 0x4b, 0x0b, 0xea, 0x08, 0xbc, 0x20, 0xfe}, tpm: true},
	TPM2SRK: {id: [16]byte{0xd4, 0x06, 0x2d, 0xfb, 0x71, 0xad, 0x4c, 0x86, 0x80, 0x4b, 0x40, 0xef, 0x11, 0x80, 0xf1, 0xfc}, tpm: true, srk: true},
}

// Sealed says whether only a TPM can open credentials of this format.
func (f Format) Sealed() bool { return layouts[f].tpm }

// Valid says whether the format is one of the table.
func (f Format) Valid() bool { _, ok := layouts[f]; return ok }

const (
	keySize = 32
	ivSize  = 12
	tagSize = 16
	// maxField bounds the length that a header states for one of its parts, as systemd does
	// (CREDENTIAL_FIELD_SIZE_MAX).
	maxField = 16 << 10
	// MaxSize is the largest credential that systemd loads, in bytes of its text
	// (CREDENTIAL_ENCRYPTED_SIZE_MAX).
	MaxSize = 1<<20 + 128<<10
	// MaxData is the largest content, in bytes (CREDENTIAL_SIZE_MAX).
	MaxData = 1 << 20
	maxName = 255
)

// Errors of credentials that cannot be opened.
var (
	ErrFormat  = errors.New("not an encrypted credential of a known format")
	ErrName    = errors.New("the credential has another name")
	ErrDamaged = errors.New("the credential is damaged, or was encrypted with another key")
)

// header is what precedes the encrypted part and is authenticated with it.
type header struct {
	format Format
	iv     [ivSize]byte
	// The following are of formats that are sealed.
	pcrs   uint64 // mask of the platform configuration registers that the object is bound to
	bank   uint16 // hash algorithm of these registers
	alg    uint16 // of the parent key
	blob   []byte // the sealed object
	policy []byte // digest of its policy
	srk    []byte // how libtss2 names the parent, of formats that have it
}

var le = binary.LittleEndian

func pad8(b []byte) []byte { return append(b, make([]byte, -len(b)&7)...) }

func (h *header) encode() []byte {
	l := layouts[h.format]
	b := slices.Clone(l.id[:])
	for _, n := range []uint32{keySize, 1, ivSize, tagSize} {
		b = le.AppendUint32(b, n)
	}
	b = pad8(append(b, h.iv[:]...))
	if !l.tpm {
		return b
	}
	b = le.AppendUint64(b, h.pcrs)
	b = le.AppendUint16(b, h.bank)
	b = le.AppendUint16(b, h.alg)
	b = le.AppendUint32(b, uint32(len(h.blob)))   //nolint:gosec // a few hundred bytes
	b = le.AppendUint32(b, uint32(len(h.policy))) //nolint:gosec // 32
	b = pad8(append(append(b, h.blob...), h.policy...))
	if l.srk {
		b = le.AppendUint32(b, uint32(len(h.srk))) //nolint:gosec // about 140
		b = pad8(append(b, h.srk...))
	}
	return b
}

// reader takes fields from the beginning of a credential; after the first that is missing it is
// bad.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b)-r.at {
		r.bad = true
		return make([]byte, min(max(n, 0), maxField))
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *reader) uint16() uint16 { return le.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return le.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return le.Uint64(r.take(8)) }

// field takes n bytes, where n is what a header says.
func (r *reader) field(n uint32) []byte {
	if n > maxField {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *reader) align() { r.take(-r.at & 7) }

// parse takes a credential apart into its header, the header's bytes and the encrypted rest.
func parse(b []byte) (h *header, aad, rest []byte, err error) {
	r := &reader{b: b}
	id := [16]byte(r.take(16))
	h = &header{}
	for f, l := range layouts {
		if l.id == id {
			h.format = f
		}
	}
	if r.bad || h.format == "" {
		return nil, nil, nil, ErrFormat
	}
	sizes := [4]uint32{r.uint32(), r.uint32(), r.uint32(), r.uint32()}
	if sizes != [4]uint32{keySize, 1, ivSize, tagSize} {
		return nil, nil, nil, fmt.Errorf("%w: sizes of another cipher", ErrFormat)
	}
	h.iv = [ivSize]byte(r.take(ivSize))
	r.align()
	if l := layouts[h.format]; l.tpm {
		h.pcrs, h.bank, h.alg = r.uint64(), r.uint16(), r.uint16()
		blob, policy := r.uint32(), r.uint32()
		h.blob, h.policy = r.field(blob), r.field(policy)
		r.align()
		if l.srk {
			h.srk = r.field(r.uint32())
			r.align()
		}
	}
	if r.bad {
		return nil, nil, nil, fmt.Errorf("%w: it is cut short", ErrFormat)
	}
	return h, b[:r.at], b[r.at:], nil
}

func aead(secret []byte) (cipher.AEAD, error) {
	key := sha256.Sum256(secret)
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// encrypt makes the text of a credential. The name is authenticated, and checked by who opens it.
func encrypt(h *header, secret []byte, name string, data []byte) ([]byte, error) {
	switch {
	case name == "" || len(name) > maxName || bytes.ContainsAny([]byte(name), "/\x00") || name == "." || name == "..":
		return nil, fmt.Errorf("credential %q: not a name that systemd takes", name)
	case len(data) > MaxData:
		return nil, fmt.Errorf("credential %s: %d bytes, and systemd loads at most %d", name, len(data), MaxData)
	}
	if _, err := rand.Read(h.iv[:]); err != nil {
		return nil, err
	}
	gcm, err := aead(secret)
	if err != nil {
		return nil, err
	}
	inner := le.AppendUint64(nil, uint64(time.Now().UnixMicro())) //nolint:gosec // after 1970
	inner = le.AppendUint64(inner, math.MaxUint64)                // valid for ever
	inner = le.AppendUint32(inner, uint32(len(name)))             //nolint:gosec // at most maxName
	inner = pad8(append(inner, name...))
	inner = append(inner, data...)
	defer clear(inner)
	aad := h.encode()
	sealed := gcm.Seal(slices.Clone(aad), h.iv[:], inner, aad)
	text := base64.StdEncoding.AppendEncode(nil, sealed)
	return append(text, '\n'), nil
}

// decode turns the text of a credential into its bytes. Line breaks are passed over.
func decode(text []byte) ([]byte, error) {
	if len(text) > MaxSize+MaxSize/3 {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrFormat, MaxSize)
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not base64", ErrFormat)
	}
	return b[:n], nil
}

// decrypt gives the content of a credential whose secret is known.
func decrypt(h *header, aad, rest, secret []byte, name string) ([]byte, error) {
	gcm, err := aead(secret)
	if err != nil {
		return nil, err
	}
	inner, err := gcm.Open(nil, h.iv[:], rest, aad)
	if err != nil {
		return nil, ErrDamaged
	}
	r := &reader{b: inner}
	r.uint64() // when it was made; clocks in stage 1 may be anything
	notAfter := r.uint64()
	got := string(r.field(r.uint32()))
	r.align()
	switch {
	case r.bad:
		return nil, fmt.Errorf("%w: its content is cut short", ErrFormat)
	case got != name:
		return nil, fmt.Errorf("%w: %q, not %q", ErrName, got, name)
	case notAfter < uint64(time.Now().UnixMicro()): //nolint:gosec // after 1970
		return nil, errors.New("the credential has expired")
	}
	return inner[r.at:], nil
}

// Info is what a credential says of itself without being opened.
type Info struct {
	Format Format
	// PCRs are the registers that it is bound to.
	PCRs []uint
}

// Inspect reads the headers of a credential. It needs no TPM.
func Inspect(text []byte) (Info, error) {
	b, err := decode(text)
	if err != nil {
		return Info{}, err
	}
	h, _, _, err := parse(b)
	if err != nil {
		return Info{}, err
	}
	return Info{Format: h.format, PCRs: h.registers()}, nil
}

// registers are the PCRs of the mask.
func (h *header) registers() (pcrs []uint) {
	for i := range uint(24) {
		if h.pcrs&(1<<i) != 0 {
			pcrs = append(pcrs, i)
		}
	}
	return pcrs
}
