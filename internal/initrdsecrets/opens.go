package initrdsecrets

import (
	"context"
	"crypto/sha256"
	"errors"
	"path"
	"strings"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/seal"
)

// Credential is what an image has in the place of secrets that are sealed.
type Credential struct {
	Path   string      `json:"path"`
	Format seal.Format `json:"format"`
	// Sealed says that only a TPM opens it.
	Sealed bool   `json:"sealed"`
	PCRs   []uint `json:"pcrs"`

	text []byte
}

func (c Credential) name() string {
	return strings.TrimSuffix(path.Base(c.Path), manifest.CredentialSuffix)
}

// Credentials lists the encrypted credentials of an image's segment, without opening them. An image
// without a whole segment has none.
func Credentials(ctx context.Context, i *initrd.Image) ([]Credential, error) {
	infos, err := i.Entries(ctx)
	if err != nil {
		return none(err)
	}
	var segment *initrd.Segment
	all := []Credential{}
	for _, info := range infos {
		if path.Dir(info.Path) != manifest.CredentialsDir || path.Ext(info.Path) != manifest.CredentialSuffix {
			continue
		}
		if segment == nil {
			if segment, err = i.Extract(ctx, initrd.Profile{}); err != nil {
				return none(err)
			}
		}
		text := segment.Content(info.Path)
		about, err := seal.Inspect(text)
		if err != nil {
			continue // somebody's own file: its name says what it is
		}
		all = append(all, Credential{
			Path: info.Path, Format: about.Format, Sealed: about.Format.Sealed(),
			PCRs: append([]uint{}, about.PCRs...), text: text,
		})
	}
	return all, nil
}

func none(err error) ([]Credential, error) {
	for _, known := range []error{initrd.ErrNoSegment, initrd.ErrDamaged, initrd.ErrVersion} {
		if errors.Is(err, known) {
			return []Credential{}, nil
		}
	}
	return nil, err
}

// Opens says whether the TPM of this machine opens what is sealed in an image.
type Opens string

// The answers.
const (
	NotSealed    Opens = ""        // nothing is sealed
	OpensNow     Opens = "yes"     // the TPM opened it
	DoesNotOpen  Opens = "no"      // the TPM refused, or there is none
	OpensUnknown Opens = "unknown" // the TPM could not be asked
)

// Opener asks TPMs whether they open what is sealed in images. The zero value is ready.
type Opener struct {
	asked map[[sha256.Size]byte]answer
	// Lockout is what the TPM that was asked last counts; nil when none was.
	Lockout *seal.Lockout
}

type answer struct {
	opens Opens
	err   error
}

// Ask has the TPM open one credential of those that a segment has: they were sealed together, and
// each opening takes a real TPM up to seconds. Equal ones are asked for once. The error is why not.
func (o *Opener) Ask(ctx context.Context, manifestPath string, all []Credential,
	options Options,
) (Opens, error) {
	for _, c := range all {
		if !c.Sealed {
			continue
		}
		device := options.TPM
		if device == "" && manifestPath != "" {
			if m, err := readManifest(manifestPath); err == nil {
				device = m.Sealing.Device
			}
		}
		key := sha256.Sum256(append([]byte(device+"\x00"), c.text...))
		a, ok := o.asked[key]
		if !ok {
			a.err = o.open(ctx, device, c)
			a.opens = judgeOpening(a.err)
			if o.asked == nil {
				o.asked = make(map[[sha256.Size]byte]answer)
			}
			o.asked[key] = a
		}
		return a.opens, a.err
	}
	return NotSealed, nil
}

func (o *Opener) open(ctx context.Context, device string, c Credential) error {
	tpm, err := seal.Dial(ctx, device)
	if err != nil {
		return err
	}
	defer func() { _ = tpm.Close() }() // everything was answered
	if o.Lockout == nil {
		lockout, err := tpm.Lockout()
		if err != nil {
			return err
		}
		o.Lockout = &lockout
	}
	data, err := seal.Open(tpm, c.name(), c.text)
	clear(data)
	return err
}

// judgeOpening tells a refusal, which the next boot meets too, from a TPM that could not be asked.
func judgeOpening(err error) Opens {
	if err == nil {
		return OpensNow
	}
	for _, refusal := range []error{
		seal.ErrNoTPM, seal.ErrOtherTPM, seal.ErrLockout, seal.ErrPolicy, seal.ErrDamaged, seal.ErrName, seal.ErrFormat,
	} {
		if errors.Is(err, refusal) {
			return DoesNotOpen
		}
	}
	return OpensUnknown
}
