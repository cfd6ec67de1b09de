package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/remotekey"
)

// versionReport is what version prints with --json.
type versionReport struct {
	Program string `json:"program"`
	Release string `json:"release"`
	Commit  string `json:"commit"` // "" where it is not known
	Build   string `json:"build"`  // small or full
	Go      string `json:"go"`
}

func versionCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print release, commit and build of this program",
		Long: `version says which program this is, for reports of faults. A small build lacks what asks
clouds and vaults for keys; it becomes the full one beside it where a sops file
needs that.`,
		Example: `  sops-initrd version
  sops-initrd version --json`,
		Args: noOperand,
		RunE: func(*cobra.Command, []string) error {
			release, commit, toolchain := cli.Build()
			r := versionReport{program, release, commit, "full", toolchain}
			if remotekey.Small {
				r.Build = "small"
			}
			if asJSON {
				return printJSON(e.Stdout, r)
			}
			if commit == "" {
				commit = "not known"
			}
			_, err := fmt.Fprintf(e.Stdout, "%s %s\ncommit  %s\nbuild   %s, %s\n", program, release, commit,
				r.Build, toolchain)
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}
