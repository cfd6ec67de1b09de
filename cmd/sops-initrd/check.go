package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
)

// checkReport is what check prints with --json.
type checkReport struct {
	Manifest string                      `json:"manifest"`
	Entries  []initrdsecrets.EntryReport `json:"entries"`
}

func checkCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	o := initrdsecrets.CheckOptions{Warn: func(text string) { cli.Warn(e, program, "%s", text) }}
	var hosts []string
	c := &cobra.Command{
		Use:   "check [--manifest-only] [--recipient KEY]... MANIFEST",
		Short: "Validate a manifest and its sops files without keys, for builds",
		Long: `check finds every fault of MANIFEST that can be found without a key: its form,
names, paths and modes, and in the sops files it names whether they exist, are sops
files of that format and have the keys that are asked for. It says nothing when all
is well. Sources, which are files of the host that installs the boot loader, are not
looked at. With --recipient, every sops file has to be encrypted for one of the keys
given, so that a host that could not decrypt it is found by the build.`,
		Example: `  sops-initrd check manifest-initrd.json
  sops-initrd check --recipient server01.pub manifest-initrd.json`,
		Args: operand("manifest"),
		RunE: func(c *cobra.Command, args []string) error {
			if o.ManifestOnly && len(hosts) > 0 {
				return cli.WithHint(cli.Usage(errors.New("check: --recipient looks at the sops files, "+
					"--manifest-only does not")), seeHelp(c))
			}
			for _, text := range hosts {
				keys, err := recipient.Find(text)
				if err != nil {
					return cli.Usage(fmt.Errorf("recipient %w", err))
				}
				o.Hosts = append(o.Hosts, keys...)
			}
			m, err := initrdsecrets.Check(args[0], o)
			if err != nil || !asJSON {
				return err
			}
			return printJSON(e.Stdout, checkReport{args[0], initrdsecrets.List(m)})
		},
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&o.ManifestOnly, "manifest-only", false, "do not look at the sops files")
	c.Flags().BoolVar(&o.AllowLooseKeys, "allow-loose-keys", false,
		"accept SSH private keys that sshd does not load")
	c.Flags().StringArrayVar(&hosts, "recipient", nil,
		"`key` of the host that every sops file has to be encrypted for: an age recipient, "+
			"a public SSH key, a line of known_hosts, an OpenPGP fingerprint, or a file with SSH keys; "+
			"one of several is enough")
	return c
}
