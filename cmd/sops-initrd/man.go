//go:build !slim || man

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// addManCommand adds the command that writes the manual pages; packages call it when they are
// built. Slim programs are without it: the regular expressions of the library that it needs
// would take a tenth of every start.
func addManCommand(root *cobra.Command) {
	root.AddCommand(&cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   operand("directory"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0],
				0o755); err != nil { //nolint:gosec // manual pages are for everybody
				return err
			}
			undated := time.Unix(0, 0).UTC() // the same pages from every build
			if err := doc.GenManTree(c.Root(), &doc.GenManHeader{
				Section: "8", Source: program + " " + cli.Version(), Manual: "System " +
					"Administration", Date: &undated,
			}, args[0]); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			return nil
		},
	})
}
