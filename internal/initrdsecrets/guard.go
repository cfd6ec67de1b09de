package initrdsecrets

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/lockout"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// guardTimeout is what one device may take to try a key: a slot is made to take seconds, and there
// may be 32 of them.
const guardTimeout = 2 * time.Minute

// guard says where stage 1 would lock its owner out, or refuses to go on.
func (j *job) guard(ctx context.Context, values *resolve.Result) error {
	if j.Guard != lockout.Warn && j.Guard != lockout.Fail || j.manifest.StageOne == nil {
		return nil
	}
	files := make(map[string][]byte)
	for i, e := range j.manifest.Entries {
		switch {
		case e.Secret != "":
			files[e.Path] = values.Secrets[e.Secret].Data
		case e.Template != "":
			files[e.Path] = values.Templates[e.Template].Data
		default:
			for _, s := range j.sources[i] {
				files[strings.TrimPrefix(s.Path, manifest.DefaultPrefix)] = s.Data
			}
		}
	}
	dangers, err := lockout.Dangers(ctx, j.manifest.StageOne, files, guardTimeout)
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range dangers {
		if j.Guard == lockout.Warn {
			j.Warn("lockout: "+d.What, d.Do, `sops.lockoutGuard = "fail" would refuse this`)
			continue
		}
		faults = append(faults, cli.WithHint(errors.New("lockout: "+d.What), d.Do,
			`to go on anyway, say --lockout-guard=warn (sops.lockoutGuard = "warn")`))
	}
	return errors.Join(faults...)
}
