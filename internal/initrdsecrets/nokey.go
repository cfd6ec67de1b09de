package initrdsecrets

import (
	"context"
	"fmt"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// withoutKeys decides what becomes of a run that has no values and nothing to salvage: fault is why. On a machine that is only
// being installed, and has no key at all yet, Options.SkipNoKey makes it a loud warning and leaves the image as it is. A host
// that has keys, none of which fits, is never skipped: there something is wrong.
func (o Options) withoutKeys(ctx context.Context, j *job, image string, fault error) (*Outcome, error) {
	if !o.hasNoKey(ctx, j) {
		return nil, fault
	}
	if !o.SkipNoKey {
		return nil, cli.WithHint(fault, "on a machine that is being installed, put its key in place first (nixos-anywhere --extra-files), or let --when-no-key=skip leave the secrets out for now")
	}
	o.Warn(fmt.Sprintf("NOT PROVISIONED: %s is installed without its initrd secrets, because this machine has no key yet", o.KnownAs(image)),
		"when its key is in place, install the boot loader again (nixos-rebuild boot); under lanzaboote remove the stub of this generation before",
		"sops-initrd status shows what is without secrets")
	return &Outcome{Result: initrd.Result{Action: initrd.Unchanged}, Entries: j.list(), Skipped: true}, nil
}

// hasNoKey says whether the host has no key at all, and nothing but that is wrong with the sops files.
func (o Options) hasNoKey(ctx context.Context, j *job) bool {
	req := j.needed()
	req.Getenv, req.Timeout = o.Getenv, o.Timeout
	d := resolve.Diagnose(ctx, req)
	if len(d.Identities) > 0 {
		return false
	}
	for _, f := range d.Files {
		for _, r := range f.Recipients {
			if r.Outcome != sopsfile.NoKey {
				return false
			}
		}
		if f.Decrypted || len(f.Recipients) == 0 {
			return false
		}
	}
	return len(d.Files) > 0
}
