package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/lockout"
)

func guardFlag(c *cobra.Command, mode *lockout.Mode) {
	*mode = lockout.Warn
	c.Flags().Func("lockout-guard", "when stage 1 would lock its owner out, `warn|fail|off`: warn "+
		"(default), refuse, or do not look", func(text string) (err error) {
		if *mode, err = lockout.ParseMode(text); err != nil {
			return fmt.Errorf("want %w", err)
		}
		return nil
	})
	_ = c.RegisterFlagCompletionFunc("lockout-guard", cobra.FixedCompletions(
		[]string{"warn", "fail", "off"}, cobra.ShellCompDirectiveNoFileComp))
}

// otherThanDefault says that a manifest is that of an older generation, as far as is known. It is
// kept to go back to, and to refuse its secrets would take away what still works of it.
func otherThanDefault(manifest, system string) bool {
	a, errA := os.Stat(bootloader.Open(system).Manifest)
	b, errB := os.Stat(manifest)
	return errA == nil && errB == nil && !os.SameFile(a, b)
}
