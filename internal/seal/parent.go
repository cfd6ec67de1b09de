package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// srkHandle is where the storage root key is kept (TCG TPM v2.0 Provisioning Guidance, 7.5.1), by
// systemd-tpm2-setup too.
const srkHandle tpm2.TPMHandle = 0x81000001

// parent is the key below which an object is sealed.
type parent struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
}

// template is that of the parent of a format. That of the older one is derived anew at each use and
// lacks noDA, so that failures of authorisation lock it (systemd, src/shared/tpm2-util.c).
func template(f Format) tpm2.TPMTPublic {
	t := tpm2.ECCSRKTemplate
	t.ObjectAttributes.NoDA = layouts[f].srk
	t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return t
}

// parent finds the parent key of a format, and creates what is not there yet. done flushes it.
func (t *TPM) parent(f Format) (p *parent, done func(), err error) {
	if layouts[f].srk {
		p, err := t.readSRK()
		if errors.Is(err, tpm2.TPMRCHandle) {
			p, err = t.makeSRK()
		}
		return p, func() {}, err
	}
	p, err = t.primary(f)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { t.flush(p.handle) }, nil
}

func (t *TPM) primary(f Format) (*parent, error) {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template(f))}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("derive the TPM's parent key: %w", explain(err))
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("derive the TPM's parent key: %w", err)
	}
	return &parent{handle: rsp.ObjectHandle, name: rsp.Name, public: *public}, nil
}

func (t *TPM) readSRK() (*parent, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: srkHandle}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("read the TPM's storage root key: %w", explain(err))
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("read the TPM's storage root key: %w", err)
	}
	return &parent{handle: srkHandle, name: rsp.Name, public: *public}, nil
}

// makeSRK does what systemd-tpm2-setup does on machines that run it.
func (t *TPM) makeSRK() (*parent, error) {
	p, err := t.primary(TPM2SRK)
	if err != nil {
		return nil, err
	}
	defer t.flush(p.handle)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: p.handle, Name: p.name},
		PersistentHandle: srkHandle,
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("keep the TPM's storage root key: %w", explain(err))
	}
	p2 := *p
	p2.handle = srkHandle
	return &p2, nil
}

func (t *TPM) flush(h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(t) // the kernel's resource manager does it at the latest when we end
}

// Identity is what a credential depends on: the TPM, which becomes another one when it is cleared,
// and the present values of PCRs. It takes one command, and a second one for PCRs, where the
// storage root key is there.
func (t *TPM) Identity(pcrs ...uint) ([]byte, error) {
	p, done, err := t.parent(TPM2SRK)
	if err != nil {
		return nil, err
	}
	defer done()
	policy, err := t.policy(pcrs)
	if err != nil {
		return nil, err
	}
	return append(bytes.Clone(p.name.Buffer), policy...), nil
}

// PublicKey is the public half of the key below which a machine's secrets are sealed.
type PublicKey struct {
	format Format
	public tpm2.TPMTPublic
}

// PublicKey reads what [SealFor] needs to seal for this machine.
func (t *TPM) PublicKey(f Format) (*PublicKey, error) {
	if !f.Sealed() {
		return nil, fmt.Errorf("format %q has no key", f)
	}
	p, done, err := t.parent(f)
	if err != nil {
		return nil, err
	}
	defer done()
	return &PublicKey{format: f, public: p.public}, nil
}

// String is the form in which public keys are handed on: the format, a colon, and a TPMT_PUBLIC in
// base64.
func (k *PublicKey) String() string {
	return string(k.format) + ":" + base64.StdEncoding.EncodeToString(tpm2.Marshal(k.public))
}

// ParsePublicKey reads what [PublicKey.String] writes.
func ParsePublicKey(s string) (*PublicKey, error) {
	format, text, ok := strings.Cut(strings.TrimSpace(s), ":")
	f := Format(format)
	if !ok || !f.Sealed() {
		return nil, fmt.Errorf("public key of a TPM: it begins with neither %q nor %q", TPM2+":", TPM2SRK+":")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("public key of a TPM: it is not base64")
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](data)
	if err != nil {
		return nil, errors.New("public key of a TPM: it is not a TPMT_PUBLIC")
	}
	want, got := template(f), *public
	got.Unique = want.Unique
	if string(tpm2.Marshal(got)) != string(tpm2.Marshal(want)) {
		return nil, fmt.Errorf("public key of a TPM: it is not of the kind that format %s needs", f)
	}
	return &PublicKey{format: f, public: *public}, nil
}

// serialized is how libtss2 writes a reference to a persistent key (Esys_TR_Serialize): its handle,
// its name, the kind of resource, its public area.
func serialized(p *parent) []byte {
	const keyResource = 1
	b := binary.BigEndian.AppendUint32(nil, uint32(srkHandle))
	b = append(b, tpm2.Marshal(p.name)...)
	b = binary.BigEndian.AppendUint32(b, keyResource)
	return append(b, tpm2.Marshal(tpm2.New2B(p.public))...)
}
