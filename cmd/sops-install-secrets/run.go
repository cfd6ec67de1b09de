package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/install"
	"github.com/sops-initrd/sops-initrd/internal/progress"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

const usage = `usage: sops-install-secrets [-ignore-passwd] [-strict] [-json] MANIFEST
       sops-install-secrets -check-mode MODE MANIFEST

Decrypt the secrets of MANIFEST, a JSON file that the NixOS module writes, and
install them with their owners and modes as a new generation. What cannot be
installed keeps the file it has.

options:
  -check-mode MODE  check MANIFEST instead of installing it: "manifest" looks at
                    the document alone, "sopsfile" at the sops files as well,
                    without any key; "off" is the default
  -ignore-passwd    look up no users and groups: everything belongs to root, or
                    in user mode to the user
  -json             print what was done as JSON, never with values
  -strict           install nothing if anything cannot be installed
  -version          print the version and exit
  -h, -help         print this text and exit

examples:
  sops-install-secrets /etc/sops/manifest.json
  sops-install-secrets -check-mode sopsfile result/manifest.json
`

// flags are all options of the command line.
type flags struct {
	install.Options
	checkMode     string
	json, version bool
}

func newFlagSet(f *flags) *flag.FlagSet {
	set := flag.NewFlagSet(install.Program, flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are reported by run, the usage text is ours
	set.StringVar(&f.checkMode, "check-mode", string(install.CheckOff), "")
	set.BoolVar(&f.IgnorePasswd, "ignore-passwd", false, "")
	set.BoolVar(&f.json, "json", false, "")
	set.BoolVar(&f.Strict, "strict", false, "")
	set.BoolVar(&f.version, "version", false, "")
	return set
}

// parse reads the command line. The error is flag.ErrHelp when help was asked for.
func parse(args []string) (flags, error) {
	var f flags
	set := newFlagSet(&f)
	if err := set.Parse(args); err != nil || f.version {
		return f, err
	}
	switch f.Check = install.CheckMode(f.checkMode); f.Check {
	case install.CheckOff, install.CheckManifest, install.CheckSopsFile:
	default:
		return f, fmt.Errorf("-check-mode: unknown mode %q (known: manifest, off, sopsfile)", f.checkMode)
	}
	switch set.NArg() {
	case 0:
		return f, errors.New("no manifest given")
	case 1:
		f.Manifest = set.Arg(0)
		return f, nil
	default:
		return f, fmt.Errorf("one manifest wanted, got %d operands (options go before the manifest)", set.NArg())
	}
}

func run(env cli.Env) int {
	f, err := parse(env.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := fmt.Fprint(env.Stdout, usage)
		return cli.Report(env, install.Program, err)
	case err != nil:
		err = cli.WithHint(cli.Usage(err), "sops-install-secrets -help explains the options")
		return cli.Report(env, install.Program, err)
	case f.version:
		_, err := fmt.Fprintln(env.Stdout, install.Program, cli.Version())
		return cli.Report(env, install.Program, err)
	}
	cli.Protect()
	// What is made gets its mode explicitly. A stricter umask would lock an ordinary user out of it
	// before.
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	installer := install.Installer{
		Env: env, System: install.NewLinux(env.Stderr), Resolve: resolve.Run, ActivationDir: "/run/nixos",
	}
	report, err := installer.Run(progress.With(ctx, cli.Progress(env)), f.Options)
	if report != nil {
		cli.Tell(env, install.Program, reportText(report, f.json))
	}
	return cli.Report(env, install.Program, err)
}

func reportText(report *install.Report, asJSON bool) string {
	if asJSON {
		return report.JSON()
	}
	return report.Text()
}
