package seal

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Options say what a credential is bound to.
type Options struct {
	// Name is the credential's; whoever opens it must ask for this one.
	Name string
	// Format is that of the systemd which will open it.
	Format Format
	// PCRs are the registers whose present values the TPM compares before it opens the credential.
	PCRs []uint
}

// Errors of a TPM that refuses.
var (
	ErrOtherTPM = errors.New("the TPM did not seal this: it is another one, or was cleared")
	ErrLockout  = errors.New("the TPM is in lockout after too many failures")
	ErrPolicy   = errors.New("the PCRs have other values than when this was sealed")
)

// explain gives the answers of a TPM that users meet a name.
func explain(err error) error {
	switch {
	case errors.Is(err, tpm2.TPMRCLockout):
		return fmt.Errorf("%w (%w)", ErrLockout, err)
	case errors.Is(err, tpm2.TPMRCIntegrity):
		return fmt.Errorf("%w (%w)", ErrOtherTPM, err)
	case errors.Is(err, tpm2.TPMRCPolicyFail):
		return fmt.Errorf("%w (%w)", ErrPolicy, err)
	}
	return err
}

func selection(pcrs []uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)},
	}}
}

func hash(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }

// policy is the digest of what has to be true before the object is opened; 32 NULs ask for nothing.
func (t *TPM) policy(pcrs []uint) ([]byte, error) {
	calculator, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	if len(pcrs) > 0 {
		digest, err := t.pcrDigest(selection(pcrs), hash)
		if err != nil {
			return nil, err
		}
		command := tpm2.PolicyPCR{PcrDigest: tpm2.TPM2BDigest{Buffer: digest}, Pcrs: selection(pcrs)}
		if err := command.Update(calculator); err != nil {
			return nil, err
		}
	}
	return calculator.Hash().Digest, nil
}

func mask(pcrs []uint) (m uint64) {
	for _, p := range pcrs {
		m |= 1 << p
	}
	return m
}

// Seal makes a credential that only this TPM opens, and has it opened once before it is handed out.
// It takes at most ten commands. A credential of format [Null] needs no TPM, which may be nil then.
func Seal(t *TPM, o Options, data []byte) ([]byte, error) {
	h, secret, err := o.header()
	if err != nil {
		return nil, err
	}
	if !o.Format.Sealed() {
		return encrypt(h, nil, o.Name, data)
	}
	policy, err := t.policy(o.PCRs)
	if err != nil {
		return nil, err
	}
	p, done, err := t.parent(o.Format)
	if err != nil {
		return nil, err
	}
	defer done()
	public := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy},
	}
	rsp, err := tpm2.Create{
		// The secret goes to the TPM encrypted, so that nobody on the bus between reads it.
		ParentHandle: tpm2.AuthHandle{Handle: p.handle, Name: p.name, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16,
			tpm2.AESEncryption(128, tpm2.EncryptIn), tpm2.Salted(p.handle, p.public))},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret}),
		}},
		InPublic: tpm2.New2B(public),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("seal to the TPM: %w", explain(err))
	}
	h.blob = append(tpm2.Marshal(rsp.OutPrivate), tpm2.Marshal(rsp.OutPublic)...)
	h.policy = policy
	if layouts[o.Format].srk {
		h.srk = serialized(p)
	}
	if again, err := t.unsealBelow(p, h); err != nil || !bytes.Equal(again, secret) {
		return nil, fmt.Errorf("open again what was just sealed: %w", cmp.Or(err, ErrDamaged))
	}
	return encrypt(h, secret, o.Name, data)
}

// header is that of a new credential, with a new secret.
func (o Options) header() (*header, []byte, error) {
	for _, p := range o.PCRs {
		if p > 23 {
			return nil, nil, fmt.Errorf("PCR %d: there are 0 to 23", p)
		}
	}
	if !o.Format.Valid() {
		return nil, nil, fmt.Errorf("format %q of credentials is not known", o.Format)
	}
	h := &header{format: o.Format}
	if !o.Format.Sealed() {
		return h, nil, nil
	}
	h.pcrs, h.bank, h.alg = mask(o.PCRs), uint16(tpm2.TPMAlgSHA256), uint16(tpm2.TPMAlgECC)
	secret := make([]byte, keySize)
	_, err := rand.Read(secret)
	return h, secret, err
}

// SealFor makes a credential that only the TPM with this public key opens, without any TPM here. It
// cannot be bound to PCRs, whose values only that machine knows.
func SealFor(key *PublicKey, o Options, data []byte) ([]byte, error) {
	o.Format = key.format
	if len(o.PCRs) > 0 {
		return nil, errors.New("seal for another machine: its PCRs are not known here")
	}
	h, secret, err := o.header()
	if err != nil {
		return nil, err
	}
	seed := make([]byte, sha256.Size)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	policy := make([]byte, sha256.Size)
	public := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{NoDA: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy},
		Unique:           tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: hash(append(bytes.Clone(seed), secret...))}),
	}
	sensitive := tpm2.TPMTSensitive{
		SensitiveType: tpm2.TPMAlgKeyedHash,
		SeedValue:     tpm2.TPM2BDigest{Buffer: seed},
		Sensitive:     tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BSensitiveData{Buffer: secret}),
	}
	name, err := tpm2.ObjectName(&public)
	if err != nil {
		return nil, err
	}
	to, err := tpm2.ImportEncapsulationKey(&key.public)
	if err != nil {
		return nil, fmt.Errorf("public key of a TPM: %w", err)
	}
	duplicate, seedSecret, err := tpm2.CreateDuplicate(rand.Reader, to, name.Buffer, tpm2.Marshal(sensitive))
	if err != nil {
		return nil, fmt.Errorf("seal for another machine: %w", err)
	}
	h.blob = append(tpm2.Marshal(tpm2.TPM2BPrivate{Buffer: duplicate}), tpm2.Marshal(tpm2.New2B(public))...)
	h.blob = append(h.blob, tpm2.Marshal(tpm2.TPM2BEncryptedSecret{Buffer: seedSecret})...)
	h.policy = policy
	if layouts[o.Format].srk {
		parentName, err := tpm2.ObjectName(&key.public)
		if err != nil {
			return nil, err
		}
		h.srk = serialized(&parent{name: *parentName, public: key.public})
	}
	return encrypt(h, secret, o.Name, data)
}

// Open gives the content of a credential. Those of format [Null] need no TPM, which may be nil
// then.
func Open(t *TPM, name string, text []byte) ([]byte, error) {
	b, err := decode(text)
	if err != nil {
		return nil, err
	}
	h, aad, rest, err := parse(b)
	if err != nil {
		return nil, err
	}
	var secret []byte
	if h.format.Sealed() {
		if t == nil {
			return nil, ErrNoTPM
		}
		if secret, err = t.unseal(h); err != nil {
			return nil, fmt.Errorf("open credential %s: %w", name, err)
		}
		defer clear(secret)
	}
	return decrypt(h, aad, rest, secret, name)
}

// split takes a TPM2B, a size of two bytes and that many bytes, from the beginning of b.
func split(b []byte) (first, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

func (t *TPM) unseal(h *header) ([]byte, error) {
	p, done, err := t.parent(h.format)
	if err != nil {
		return nil, err
	}
	defer done()
	return t.unsealBelow(p, h)
}

// unsealBelow gives out the secret of an object that is sealed below p.
func (t *TPM) unsealBelow(p *parent, h *header) ([]byte, error) {
	private, rest, ok := split(h.blob)
	public, rest, ok2 := split(rest)
	if !ok || !ok2 {
		return nil, fmt.Errorf("%w: its TPM object is cut short", ErrFormat)
	}
	if layouts[h.format].srk && !bytes.Equal(h.srk, serialized(p)) {
		return nil, ErrOtherTPM
	}
	parentAuth := tpm2.AuthHandle{Handle: p.handle, Name: p.name, Auth: tpm2.PasswordAuth(nil)}
	inPrivate := tpm2.TPM2BPrivate{Buffer: private[2:]}
	inPublic := tpm2.BytesAs2B[tpm2.TPMTPublic](public[2:])
	if secret, _, ok := split(rest); ok {
		rsp, err := tpm2.Import{
			ParentHandle: parentAuth, ObjectPublic: inPublic, Duplicate: inPrivate,
			InSymSeed: tpm2.TPM2BEncryptedSecret{Buffer: secret[2:]},
		}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("import into the TPM: %w", explain(err))
		}
		inPrivate = rsp.OutPrivate
	}
	object, err := tpm2.Load{ParentHandle: parentAuth, InPrivate: inPrivate, InPublic: inPublic}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("load into the TPM: %w", explain(err))
	}
	defer t.flush(object.ObjectHandle)
	pcrs := h.registers()
	policy := func(tpm transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		if len(pcrs) == 0 {
			return nil
		}
		_, err := tpm2.PolicyPCR{PolicySession: session, Pcrs: selection(pcrs)}.Execute(tpm)
		return err
	}
	rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
		Handle: object.ObjectHandle, Name: object.Name,
		Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, policy,
			tpm2.AESEncryption(128, tpm2.EncryptOut), tpm2.Salted(p.handle, p.public)),
	}}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", explain(err))
	}
	return rsp.OutData.Buffer, nil
}
