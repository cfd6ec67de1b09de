package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// running is what commands look at that are given neither manifest nor images: a system, by default
// the one that runs, with the images that its boot entries load.
type running struct {
	system, variables string
	boots             []string
}

func (r *running) flags(c *cobra.Command, images bool) {
	c.Flags().StringVar(&r.system, "system", bootloader.CurrentSystem,
		"`system` in the store, or a link to one, that is meant where no other is named")
	if images {
		bootFlag(c, &r.boots)
		variablesFlag(c, &r.variables)
	}
}

// manifest is the initrd manifest of the system.
func (r *running) manifest() (string, error) {
	s := bootloader.Open(r.system)
	switch {
	case s.Gone():
		return "", cli.WithHint(fmt.Errorf("system %s: not found", r.system),
			"say which manifest is meant: --manifest FILE")
	case s.Manifest == "":
		return "", cli.WithHint(fmt.Errorf("system %s: it has no initrd secrets from sops files",
			r.system),
			"say which manifest is meant: --manifest FILE")
	}
	return s.Manifest, nil
}

// base is the pristine initrd of the system; "" where it is not there.
func (r *running) base() string {
	name := filepath.Join(bootloader.Open(r.system).Toplevel, "initrd")
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

// images are those that the boot entries of the system load.
func (r *running) images(ctx context.Context) ([]string, error) {
	found, err := bootloader.ImagesOf(ctx, r.system, r.boots, r.variables)
	if err != nil {
		return nil, cli.WithHint(err, "say which image is meant")
	}
	return found.Images, nil
}

// each calls f for every image that is named, or those of the system. One that fails does not keep
// the others from being looked at.
func (r *running) each(ctx context.Context, named []string, f func(image string) error) error {
	if len(named) == 0 {
		var err error
		if named, err = r.images(ctx); err != nil {
			return err
		}
	}
	var faults []error
	for _, image := range named {
		if ctx.Err() == nil {
			faults = append(faults, f(image))
		}
	}
	return errors.Join(faults...)
}

// operands makes sure that none of the operands of a command is empty.
func operands(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		for _, arg := range args {
			if arg == "" {
				return cli.WithHint(cli.Usage(fmt.Errorf("%s: the name of the %s is empty", c.Name(), name)),
					seeHelp(c))
			}
		}
		return nil
	}
}
