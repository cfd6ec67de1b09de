package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/initrd"
	"github.com/sops-initrd/sops-initrd/internal/bootloader"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets/record"
	"github.com/sops-initrd/sops-initrd/internal/lockout"
)

func appendCommand(e cli.Env) *cobra.Command {
	o := hookOptions(e)
	var manifest, system string
	c := &cobra.Command{
		Use:   "append --manifest MANIFEST [--base PRISTINE] IMAGE",
		Short: "Add the secrets of a manifest to an image, all or nothing",
		Long: `append decrypts what the entries of MANIFEST need and puts it at the end of IMAGE,
in place of what an earlier run put there. IMAGE need not exist: some boot loaders
pass a name and load the file as a second initrd.

Everything is decrypted and built in memory first; when anything fails, IMAGE stays
exactly as it was. Unchanged content writes nothing. Changed content is written
beside IMAGE and takes its place in one step, on disk before append returns.

With --base, IMAGE is compared with the initrd it was made from: whatever was
appended behind it is cut, a truncated copy is repaired, and an image that is
something else is an error.

When MANIFEST cannot be decrypted any more (an old generation after its keys were
changed), a segment of the same inputs that this host installed earlier is kept,
from IMAGE itself or from the file that the boot loader is about to replace with it,
and a warning says so. What counts as installed by this host is recorded below
--state.

Where the manifest says what stage 1 does with its entries, and the system boots by
default, append first tries whether stage 1 would still let its owner in: a LUKS key
file has to open its device (where that is there), a WireGuard key has to be one,
and sshd needs a key that may log in. --lockout-guard says what follows if not; plan
asks without writing anything.`,
		Example: `  # what a boot loader calls, on its copy of the initrd
  sops-initrd append --manifest m.json --base initrd /boot/EFI/nixos/…-initrd

  # a second initrd, for a loader that takes several
  sops-initrd append --manifest m.json /boot/secrets.img`,
		Args: operand("image"),
		RunE: func(c *cobra.Command, args []string) error {
			if otherThanDefault(manifest, system) {
				o.Guard = lockout.Off
			}
			out, err := initrdsecrets.Append(c.Context(), manifest, args[0], *o)
			if err != nil {
				return err
			}
			if out.Action != initrd.Unchanged {
				cli.Tell(e, program, sentence(out.Image, out, false)+"\n")
			}
			return nil
		},
	}
	manifestFlag(c, &manifest)
	applyFlags(c, o)
	c.Flags().StringVar(&system, "default-system", bootloader.DefaultSystem, "`link` to the system "+
		"that boots by default; where it has another manifest, the guard does not look at this one")
	c.Flags().StringVar(&o.State, "state", record.DefaultDir,
		"`directory` of the records of what this host installed")
	required(c, "manifest", "state")
	return c
}

// hookOptions are options that warn on standard error and look variables up in the environment.
func hookOptions(e cli.Env) *initrdsecrets.Options {
	return &initrdsecrets.Options{
		Getenv: e.Getenv,
		Warn: func(text string, hints ...string) {
			cli.Warn(e, program, "%s", text)
			for _, h := range hints {
				if h != "" {
					cli.Hint(e, program, h)
				}
			}
		},
	}
}

func manifestFlag(c *cobra.Command, manifest *string) {
	c.Flags().StringVarP(manifest, "manifest", "m", "",
		"initrd `manifest` (JSON) that says what goes where")
	_ = c.MarkFlagFilename("manifest", "json")
}

func baseFlag(c *cobra.Command, base *string) {
	c.Flags().StringVarP(base, "base", "b", "", "pristine `initrd` that IMAGE was made from")
}

// applyFlags are the flags of append and plan.
func applyFlags(c *cobra.Command, o *initrdsecrets.Options) {
	baseFlag(c, &o.Base)
	c.Flags().BoolVar(&o.AllowInPlace, "allow-in-place", false, "overwrite the tail of IMAGE "+
		"when there is no room for a second copy (a power cut may then leave it without secrets)")
	c.Flags().BoolVar(&o.AllowLooseKeys, "allow-loose-keys", false,
		"accept SSH private keys that sshd does not load")
	c.Flags().BoolVar(&o.Enclose, "enclose", false, "make IMAGE a compressed archive of its own, "+
		"for boot loaders that join initrds without padding (limine)")
	timeoutFlag(c, o)
	noKeyFlag(c, &o.SkipNoKey)
	guardFlag(c, &o.Guard)
	tpmFlag(c, &o.TPM)
	c.Flags().StringVar(&o.SealFor, "seal-for", "", "`file` with the public key of another "+
		"machine's TPM (sops-initrd enroll), to seal for it")
	c.Flags().StringArrayVar(&o.Replaces, "replaces", nil, "`file` that the boot loader will "+
		"replace with IMAGE (default: guessed from IMAGE's name)")
	c.Flags().StringVar(&o.Installed, "installed", "", "`directory` to which the boot loader "+
		"copies IMAGE afterwards, where that is another one (limine)")
}

func timeoutFlag(c *cobra.Command, o *initrdsecrets.Options) {
	c.Flags().Func("timeout", "time limit (`30s`) for each call of gpg, an age plugin or a key "+
		"service (default: what the manifest says, or 30s)", func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return errors.New("want a time with its unit, such as 5s or 2m")
		}
		o.Timeout = d
		return nil
	})
}

// noKeyFlag is a word and not a switch, so that a command line says what it does.
func noKeyFlag(c *cobra.Command, skip *bool) {
	c.Flags().Func("when-no-key", "on a machine without any key yet, `fail|skip`: fail "+
		"(default), or install without secrets and warn", func(text string) error {
		if text != "fail" && text != "skip" {
			return errors.New("want fail or skip")
		}
		*skip = text == "skip"
		return nil
	})
	_ = c.RegisterFlagCompletionFunc("when-no-key", cobra.FixedCompletions([]string{"fail", "skip"},
		cobra.ShellCompDirectiveNoFileComp))
}
