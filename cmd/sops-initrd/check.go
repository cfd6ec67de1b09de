package main

import (
	"github.com/spf13/cobra"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/hook"
)

// checkReport is what check prints with --json.
type checkReport struct {
	Manifest string       `json:"manifest"`
	Entries  []hook.Entry `json:"entries"`
}

func checkCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check MANIFEST",
		Short: "Validate a manifest and its sops files without keys, for builds",
		Long: `check finds every fault of MANIFEST that can be found without a key: its form, names, paths and modes, and in the sops files
it names whether they exist, are sops files of that format and have the keys that are asked for. It says nothing when all
is well. Sources, which are files of the host that installs the boot loader, are not looked at.`,
		Example: `  sops-initrd check manifest-initrd.json`,
		Args:    operand("manifest"),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := hook.Check(args[0])
			if err != nil || !asJSON {
				return err
			}
			return printJSON(e.Stdout, checkReport{args[0], hook.List(m)})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}
