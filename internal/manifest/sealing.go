package manifest

import (
	"fmt"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// sealVersion is the first schema that knows sealing and credentials. A program that does not know
// them would ignore them, and install in plain what is to be sealed: so it must refuse the
// manifest.
const sealVersion = 2

// Seal says how an entry is protected on the boot partition.
type Seal string

// The values of an entry's field "seal".
const (
	// Plain entries can be read by whoever has the disk.
	Plain Seal = ""
	// Sealed entries are opened by this machine's TPM alone. Without it nothing is installed.
	Sealed Seal = "tpm2"
	// SealedIfPossible entries are installed in plain, with a warning, on a machine without a TPM.
	SealedIfPossible Seal = "tpm2-or-plain"
)

// Sealing is what the sealed entries of an initrd have in common.
type Sealing struct {
	// Format is that of the systemd in the initrd, by the names of package seal; "" is the older one.
	Format string `json:"format"`
	// PCRs are the registers of the TPM whose present values the entries are bound to.
	PCRs []uint `json:"pcrs"`
	// Device names the TPM of the machine that installs; "" is the kernel's.
	Device string `json:"device"`
	// Parent is the public key of another machine's TPM, as `sops-initrd enroll` prints it there, to
	// seal for that one.
	Parent string `json:"parent"`
}

// circular are the registers that an initrd is measured into, or that change with it. What lies in
// the initrd cannot be bound to them: every installation would change what it is bound to.
var circular = map[uint]string{
	4:  "the boot loader and unified kernel images are measured into it",
	8:  "GRUB measures its commands into it",
	9:  "the kernel measures the initrd into it, and so what is sealed",
	11: "the parts of unified kernel images are measured into it",
	12: "the kernel's command line and credentials are measured into it",
}

// maxPCR is the last register that every TPM of a PC has (TCG PC Client Platform TPM Profile).
const maxPCR = 23

var credentialName = pattern.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}$`)

func (s *Sealing) check(f *faults) {
	switch s.Format {
	case "", "tpm2", "tpm2-srk":
	default:
		f.add("seal.format", "%q is not known (known: tpm2, tpm2-srk)", s.Format)
	}
	for i, pcr := range s.PCRs {
		field := fmt.Sprintf("seal.pcrs[%d]", i)
		if pcr > maxPCR {
			f.add(field, "there is no PCR %d (0 to %d)", pcr, maxPCR)
		} else if reason, bad := circular[pcr]; bad {
			f.add(field, "nothing in an initrd can be bound to PCR %d: %s", pcr, reason)
		}
	}
	if s.Parent != "" && len(s.PCRs) > 0 {
		f.add("seal.pcrs", "what is sealed for another machine cannot be bound to PCRs, whose values only that machine knows")
	}
}

// checkSealing checks what an entry says of sealing and credentials.
func (r rawInitrd) checkSealing(f *faults, at string, e Entry) {
	switch e.Seal {
	case Plain, Sealed, SealedIfPossible:
	default:
		f.add(at+".seal", "%q is not known (known: %s, %s)", e.Seal, Sealed, SealedIfPossible)
	}
	for field, value := range map[string]string{".seal": string(e.Seal), ".credential": e.Credential} {
		switch {
		case value == "":
		case r.Version < sealVersion:
			f.add(at+field, `needs "version": %d, so that a program that does not know it refuses the manifest`, sealVersion)
		case e.Source != "":
			f.add(at+field, "is for secrets and templates, not for files of this host")
		}
	}
	if e.Credential != "" && !credentialName().MatchString(e.Credential) {
		f.add(at+".credential", "%q is not a name of a credential (letters, digits, dots, dashes and underscores)", e.Credential)
	}
	if e.Seal != Plain && e.Prefix == "/" && e.Credential == "" {
		f.add(at+".prefix", `what lies in the initrd from the beginning cannot be sealed; leave the prefix away`)
	}
}
