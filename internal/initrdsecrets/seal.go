package initrdsecrets

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"path"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/seal"
)

const (
	// credential holds all sealed files of an image. Stage 1 opens it and has systemd-tmpfiles lay
	// them out (nixos/seal.nix).
	credential = "sops-initrd"
	// plainCredentials is where systemd 262 and newer take credentials as they are from an initrd.
	plainCredentials = "/.extra/system_credentials"
	// maxPublicKey is many times what enroll prints, in bytes.
	maxPublicKey = 64 << 10
)

// sealing says how the entries of a manifest are protected on the boot partition. The zero
// value is for manifests that seal nothing and have no credentials.
type sealing struct {
	active bool
	format seal.Format // what the systemd of the initrd reads
	pcrs   []uint
	device string
	// key is of another machine's TPM; nil seals with the one of this machine.
	key *seal.PublicKey
	// identity is what sealed entries depend on beside their content: the TPM, and values of PCRs.
	identity []byte
	// plain says that there is no TPM, and that the entries may be installed without.
	plain bool
}

// sealed says whether an entry is encrypted for a TPM.
func (s sealing) sealed(e manifest.Entry) bool { return e.Seal != manifest.Plain && !s.plain }

// sealing finds out how a manifest's entries are to be protected, with at most one command of
// the TPM, and one more where they are bound to PCRs.
func (o Options) sealing(ctx context.Context, m *manifest.Initrd) (sealing, error) {
	s := sealing{format: seal.Format(m.Sealing.Format), pcrs: m.Sealing.PCRs, device: o.TPM}
	if s.format == "" {
		s.format = seal.TPM2
	}
	if s.device == "" {
		s.device = m.Sealing.Device
	}
	wanted, mustSeal := false, false
	for _, e := range m.Entries {
		wanted = wanted || e.Seal != manifest.Plain
		mustSeal = mustSeal || e.Seal == manifest.Sealed
		s.active = s.active || e.Seal != manifest.Plain || e.Credential != ""
	}
	if !wanted {
		return s, nil
	}
	var err error
	if s.key, err = o.otherMachine(m); err != nil {
		return s, err
	}
	if s.key != nil {
		s.identity = []byte(s.key.String())
		return s, nil
	}
	tpm, err := seal.Dial(ctx, s.device)
	if errors.Is(err, seal.ErrNoTPM) && !mustSeal {
		s.plain = true
		o.Warn(err.Error()+": the secrets are installed unencrypted",
			"whoever has the disk can read them; sops.initrd.seal.whenNoTPM allows that")
		return s, nil
	}
	if err != nil {
		return s, cli.WithHint(err, "these secrets are to be sealed to a TPM; switch it on in the firmware, "+
			"or set sops.initrd.seal.enable to false, or sops.initrd.seal.whenNoTPM to \"plain\"")
	}
	defer func() { _ = tpm.Close() }()
	s.identity, err = tpm.Identity(s.pcrs...)
	return s, err
}

// otherMachine is the public key of the machine to seal for, nil where it is this one.
func (o Options) otherMachine(m *manifest.Initrd) (*seal.PublicKey, error) {
	text := m.Sealing.Parent
	if o.SealFor != "" {
		data, err := inputfile.Read(o.SealFor, maxPublicKey)
		if err != nil {
			return nil, fmt.Errorf("public key of a TPM %s: %w", o.SealFor, err)
		}
		text = string(data)
	}
	if text == "" {
		return nil, nil //nolint:nilnil // this machine
	}
	key, err := seal.ParsePublicKey(text)
	if err != nil {
		return nil, cli.WithHint(err, "sops-initrd enroll prints it, on the machine with that TPM")
	}
	return key, nil
}

// digest adds to the digest of inputs what decides how entries are sealed, never the sealed
// bytes, which differ each time. A manifest without such entries has the digest it had before
// there was sealing.
func (s sealing) digest(h hash.Hash, m *manifest.Initrd) {
	if !s.active {
		return
	}
	field(h, []byte("seal"), []byte(s.format), fmt.Append(nil, s.pcrs), s.identity)
	for _, i := range byImagePath(m.Entries) {
		e := m.Entries[i]
		field(h, []byte(e.Credential), fmt.Append(nil, s.sealed(e)))
	}
}

// sealedBefore is the segment that the image has already, where sealing the same again would
// only make other bytes of it, and cost many commands of a slow TPM. It is taken on the same
// terms as one that is salvaged: who can write the image could have put any segment there.
func (j *job) sealedBefore(ctx context.Context, image string, inputs initrd.Digest) *initrd.Segment {
	if !j.sealing.active {
		return nil
	}
	segment, err := take(ctx, image, inputs, record.In(j.State))
	if err != nil {
		return nil
	}
	return segment
}

// seal puts credentials in the place of the entries that are to be sealed or are credentials
// themselves. origin has the manifest's entries, by index.
func (j *job) seal(ctx context.Context, entries []initrd.Entry, origin map[int]manifest.Entry) ([]initrd.Entry, error) {
	if !j.sealing.active {
		return entries, nil
	}
	s := &sealer{sealing: j.sealing, warn: j.Warn}
	defer s.close()
	var out []initrd.Entry
	var files []seal.File
	for i, entry := range entries {
		e, ok := origin[i]
		switch {
		case ok && e.Credential != "":
			made, err := s.credential(ctx, e, entry)
			if err != nil {
				return nil, err
			}
			out = append(out, made)
		case ok && j.sealing.sealed(e):
			files = append(files, seal.File{Path: e.Path, Mode: entry.Mode, UID: entry.UID, GID: entry.GID, Data: entry.Data})
		default:
			out = append(out, entry)
		}
	}
	if len(files) == 0 {
		return out, nil
	}
	list := seal.Tmpfiles(files)
	defer clear(list)
	text, err := s.make(ctx, credential, list)
	if err != nil {
		return nil, err
	}
	place := manifest.Entry{Credential: credential}.ImagePath()
	return append(out, initrd.Entry{Path: place, Mode: defaultMode, Data: text, Random: true}), nil
}

// sealer has the TPM open as long as one segment is made.
type sealer struct {
	sealing
	tpm  *seal.TPM
	warn func(text string, hints ...string)
}

func (s *sealer) close() {
	if s.tpm != nil {
		_ = s.tpm.Close() // everything was answered
	}
}

// make seals data. The TPM has opened it once when it returns.
func (s *sealer) make(ctx context.Context, name string, data []byte) ([]byte, error) {
	o := seal.Options{Name: name, Format: s.format, PCRs: s.pcrs}
	if s.key != nil {
		return seal.SealFor(s.key, o, data)
	}
	if s.tpm == nil {
		var err error
		if s.tpm, err = seal.Dial(ctx, s.device); err != nil {
			return nil, err
		}
		lockout, err := s.tpm.Lockout()
		if err != nil {
			return nil, err
		}
		if lockout.Near() {
			s.warn(fmt.Sprintf("the TPM has counted %d failures and locks at %d", lockout.Failures, lockout.Max),
				"power cuts count; tpm2_dictionarylockout -c resets the counter")
		}
	}
	text, err := seal.Seal(s.tpm, o, data)
	if errors.Is(err, seal.ErrLockout) {
		err = cli.WithHint(err, "wait until the TPM forgets the failures, or run tpm2_dictionarylockout -c")
	}
	return text, err
}

// credential makes an entry that systemd imports under a name.
func (s *sealer) credential(ctx context.Context, e manifest.Entry, entry initrd.Entry) (initrd.Entry, error) {
	var err error
	switch {
	case s.sealed(e):
		entry.Data, err = s.make(ctx, e.Credential, entry.Data)
		entry.Random = true
	case s.format == seal.TPM2SRK:
		entry.Path = path.Join(plainCredentials, e.Credential+".cred")
	default:
		// Older ones take nothing but encrypted credentials; the key of this one is known to all.
		entry.Data, err = seal.Seal(nil, seal.Options{Name: e.Credential, Format: seal.Null}, entry.Data)
		entry.Random = true
	}
	return entry, err
}
