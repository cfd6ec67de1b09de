package resolve

import (
	"fmt"
	"io"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// Diagnosis says why this host can, or cannot, decrypt files. Nothing of it is secret.
type Diagnosis struct {
	// Files are the sops files of a request, in its order.
	Files []FileDiagnosis `json:"files"`
	// Identities are the keys of this host, in the order in which they are tried.
	Identities []keyring.Identity `json:"identities"`
	// Skipped are the key sources that cannot be used.
	Skipped []keyring.Skipped `json:"skipped"`
}

// FileDiagnosis says what is known about one sops file.
type FileDiagnosis struct {
	Path   string          `json:"path"`
	Format manifest.Format `json:"format"`
	// Secrets are the names of the secrets in it that were asked for.
	Secrets []string `json:"secrets"`
	// Decrypted is whether it was decrypted and was found whole.
	Decrypted bool `json:"decrypted"`
	// Faults are what is wrong: with the file, or, when it was decrypted, with the keys of secrets.
	Faults []string `json:"faults"`
	// KeyGroups is how many key groups the file has, NeededGroups of how many a key is needed.
	// Both are 1 in most files.
	KeyGroups    int `json:"keyGroups,omitempty"`
	NeededGroups int `json:"neededGroups,omitempty"`
	// Recipients are those for whom it is encrypted, and what came of each.
	Recipients []sopsfile.Attempt `json:"recipients"`
	// Advice is what to do to let this host decrypt it.
	Advice []string `json:"advice"`
}

// Diagnosis says what was tried, with which result.
func (r *Result) Diagnosis() *Diagnosis {
	d := &Diagnosis{
		Files:      []FileDiagnosis{},
		Identities: append([]keyring.Identity{}, r.ring.Identities()...),
		Skipped:    append([]keyring.Skipped{}, r.ring.Skipped()...),
	}
	for _, f := range r.files {
		d.Files = append(d.Files, f.diagnose(r.ring))
	}
	return d
}

func (f *file) diagnose(ring *keyring.Ring) FileDiagnosis {
	d := FileDiagnosis{
		Path: f.path, Format: f.format, Secrets: f.names(), Decrypted: f.fault == nil,
		Faults: []string{}, Advice: []string{}, Recipients: append([]sopsfile.Attempt{}, f.attempts...),
	}
	if f.opened != nil {
		d.KeyGroups, d.NeededGroups = f.opened.Groups()
	}
	if f.fault != nil {
		d.Faults, d.Advice = []string{f.fault.Error()}, append(d.Advice, f.advice(ring)...)
		return d
	}
	for _, s := range f.secrets {
		if err := f.values[s.Name].Err; err != nil {
			d.Faults = append(d.Faults, fmt.Sprintf("secret %q: %v", s.Name, err))
		}
	}
	return d
}

// OK says whether every secret of the request has a value.
func (d *Diagnosis) OK() bool {
	for _, f := range d.Files {
		if len(f.Faults) > 0 {
			return false
		}
	}
	return true
}

// Text writes the diagnosis for people.
func (d *Diagnosis) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range d.Files {
		f.text(&b)
	}
	b.WriteString("keys of this host:\n")
	for _, id := range d.Identities {
		fmt.Fprintf(&b, "  %s\n", identityText(id))
	}
	if len(d.Identities) == 0 {
		b.WriteString("  none\n")
	}
	if len(d.Skipped) > 0 {
		b.WriteString("skipped:\n")
	}
	for _, s := range d.Skipped {
		b.WriteString("  " + strings.Replace(skippedText(s), ": skipped", "", 1) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f FileDiagnosis) text(b *strings.Builder) {
	verdict := "cannot be decrypted"
	if f.Decrypted {
		verdict = "can be decrypted"
	}
	fmt.Fprintf(b, "%s: %s\n", f.Path, verdict)
	for _, fault := range f.Faults {
		fmt.Fprintf(b, "  %s\n", fault)
	}
	if len(f.Recipients) > 0 {
		b.WriteString("  encrypted for:\n")
	}
	group := -1
	for _, a := range f.Recipients {
		if f.KeyGroups > 1 && a.Group != group {
			group = a.Group
			fmt.Fprintf(b, "    key group %d of %d (keys of %d groups are needed):\n", group+1,
				f.KeyGroups, f.NeededGroups)
		}
		fmt.Fprintf(b, "    %s: %s\n", a.Name(), outcomeText(a))
	}
	for _, advice := range f.Advice {
		fmt.Fprintf(b, "  %s\n", advice)
	}
}

func outcomeText(a sopsfile.Attempt) string {
	switch a.Outcome {
	case sopsfile.Opened:
		return "opened with " + a.Source
	case sopsfile.Failed:
		return a.Reason
	case sopsfile.NoKey:
		return "no key of this host fits"
	case sopsfile.NotNeeded:
		return "not needed"
	}
	return string(a.Outcome)
}

func identityText(id keyring.Identity) string {
	text := fmt.Sprintf("%s: %s key", id.Source, id.Type)
	if len(id.Recipients) > 0 {
		var names []string
		for _, recipient := range id.Recipients {
			names = append(names, sopsfile.Short(recipient))
		}
		text += " of " + strings.Join(names, ", ")
	}
	return text
}

// advice is what to do about a file that no key opens.
func (f *file) advice(ring *keyring.Ring) []string {
	if !isNoKey(f.fault) {
		return nil
	}
	name := sourceName(f.path)
	for _, id := range ring.Identities() {
		if len(id.Recipients) == 0 {
			continue
		}
		recipient := id.Recipients[0]
		what := fmt.Sprintf("%q", recipient)
		if short := sopsfile.Short(recipient); short != recipient {
			what = fmt.Sprintf("the public key of %s (%s)", id.Source, short)
		}
		return []string{fmt.Sprintf("to let this host decrypt it, add %s to the %s recipients of %s "+
			"in .sops.yaml and run: sops updatekeys %s", what, recipientType(recipient), name, name)}
	}
	if !ring.Empty() {
		return nil // the key that is there needs repair, not a second one beside it
	}
	return []string{fmt.Sprintf("to let this host decrypt it, give it a key (age-keygen makes one), "+
		"add its public half to the age recipients of %s in .sops.yaml and run: sops updatekeys "+
		"%s", name, name)}
}

// fingerprint is an OpenPGP fingerprint.
var fingerprint = pattern.New(`^[0-9A-F]{40,64}$`)

// recipientType is the word of sops's configuration for a recipient of one of this host's keys.
func recipientType(recipient string) string {
	if fingerprint().MatchString(recipient) {
		return "pgp"
	}
	return "age"
}
