// Package units tells systemd which units have to see secrets that changed.
//
// There are two ways. An activation script writes the units' names to lists in /run/nixos;
// switch-to-configuration reads them when all activation scripts are done and treats the units as
// if their own definition had changed. Where the installer is a systemd service it runs after
// those lists were read, so a line written then would act at some later switch only: it calls
// systemctl itself. The module says which way by SOPS_RESTART_UNITS_VIA_SYSTEMCTL=1; it cannot be
// seen from the process, since an activation script is nearly always a descendant of some unit,
// too.
package units

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// Sets are the units to act on, sorted, none twice in a list.
type Sets struct {
	Restart []string `json:"restart"`
	Reload  []string `json:"reload"`
}

// Affected collects the units of everything that changed.
func Affected(changed []manifest.Placement) Sets {
	var s Sets
	for _, p := range changed {
		s.Restart = append(s.Restart, p.RestartUnits...)
		s.Reload = append(s.Reload, p.ReloadUnits...)
	}
	return s.sorted()
}

// Union adds the units of t.
func (s Sets) Union(t Sets) Sets {
	return Sets{slices.Concat(s.Restart, t.Restart), slices.Concat(s.Reload, t.Reload)}.sorted()
}

// Empty says whether there is nothing to do.
func (s Sets) Empty() bool { return len(s.Restart) == 0 && len(s.Reload) == 0 }

func (s Sets) sorted() Sets {
	slices.Sort(s.Restart)
	slices.Sort(s.Reload)
	return Sets{slices.Compact(s.Restart), slices.Compact(s.Reload)}
}

// Lists are the files that WriteLists writes.
var Lists = [...]string{
	"activation-restart-list", "activation-reload-list",
	"dry-activation-restart-list", "dry-activation-reload-list",
}

// WriteLists appends the units to the lists in dir (/run/nixos) that switch-to-configuration
// reads; in a dry activation to those of which it says what it would do. Where dir does not exist
// nobody reads the lists, as at boot: then nothing is done.
func WriteLists(dir string, dry bool, s Sets) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	restart, reload := Lists[0], Lists[1]
	if dry {
		restart, reload = Lists[2], Lists[3]
	}
	return errors.Join(
		appendLines(filepath.Join(dir, restart), s.Restart),
		appendLines(filepath.Join(dir, reload), s.Reload))
}

func appendLines(path string, lines []string) (err error) {
	if len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.WriteString(f, strings.Join(lines, "\n")+"\n")
	return err
}

// Job is something that systemctl is asked to do with units. Name is what it is called in messages.
type Job struct {
	Name, verb string
	Units      []string
}

// Jobs are what systemctl is asked for. A unit that is restarted is not reloaded as well.
func (s Sets) Jobs() []Job {
	reload := slices.DeleteFunc(slices.Clone(s.Reload), func(unit string) bool {
		_, restarted := slices.BinarySearch(s.Restart, unit)
		return restarted
	})
	jobs := []Job{{"restart", "try-restart", s.Restart}, {"reload", "try-reload-or-restart", reload}}
	return slices.DeleteFunc(jobs, func(j Job) bool { return len(j.Units) == 0 })
}

// Systemctl asks systemd through run, which calls systemctl with the given arguments.
//
// It must not wait for the units (--no-block): the installer's service is ordered before ordinary
// units, whose jobs cannot start before it has ended. Units that are not active stay so
// (try-restart, try-reload-or-restart): when they start they see the new secrets anyway. The name
// of a unit may begin with a hyphen: "-.mount" is that of the root directory.
func Systemctl(
	ctx context.Context, run func(ctx context.Context, args ...string) error, s Sets,
) error {
	var errs []error
	for _, job := range s.Jobs() {
		if err := run(ctx, append([]string{"--no-block", job.verb, "--"}, job.Units...)...); err != nil {
			errs = append(errs, fmt.Errorf("systemctl %s %s: %w", job.verb, strings.Join(job.Units, " "), err))
		}
	}
	return errors.Join(errs...)
}
