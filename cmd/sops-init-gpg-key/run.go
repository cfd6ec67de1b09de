package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/gnupg"
)

const program = "sops-init-gpg-key"

const usage = `usage: sops-init-gpg-key [--hostname NAME] [--gpghome DIR] [--keytype TYPE]

Make an OpenPGP key pair without a passphrase, for a machine that decrypts sops files with gpg, in the new gpg home
directory DIR. The armored public key goes to standard output, its fingerprint to standard error.

options:
  -hostname NAME   machine that the key is for; the user id becomes NAME <root@NAME> (default: name of this machine)
  -gpghome DIR     gpg home directory to make, mode 0700; it must not exist (default: /root/.gnupg)
  -keytype TYPE    RSA (default) or Curve25519
  -version         print the version and exit
  -h, -help        print this text and exit

examples:
  sops-init-gpg-key --hostname server01 --gpghome /tmp/newkey > keys/hosts/server01.asc
  sops-init-gpg-key --hostname server01 --gpghome /var/lib/sops --keytype Curve25519
`

type options struct {
	gnupg.Request
	version bool
}

func newFlags(o *options) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are reported by run
	f.StringVar(&o.Hostname, "hostname", "", "")
	f.StringVar(&o.Home, "gpghome", "/root/.gnupg", "")
	f.Func("keytype", "", func(s string) error { o.Type = gnupg.KeyType(s); return nil })
	f.BoolVar(&o.version, "version", false, "")
	return f
}

func run(e cli.Env) int {
	o := options{Request: gnupg.Request{Type: gnupg.RSA}}
	f := newFlags(&o)
	switch err := f.Parse(e.Args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(e.Stdout, usage)
		return cli.Done
	case err != nil:
		return misuse(e, err)
	case o.version:
		fmt.Fprintln(e.Stdout, program, cli.Version())
		return cli.Done
	case f.NArg() > 0:
		return misuse(e, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if o.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return cli.Report(e, program, cli.WithHint(err, "give the name with --hostname"))
		}
		o.Hostname = name
	}
	if err := o.Check(); err != nil {
		return misuse(e, err)
	}
	return cli.Report(e, program, generate(e, o.Request))
}

func misuse(e cli.Env, err error) int {
	return cli.Report(e, program, cli.Usage(cli.WithHint(err, program+" -help shows all options")))
}

func generate(e cli.Env, req gnupg.Request) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	key, err := gnupg.Generate(ctx, req)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return cli.WithHint(err, "install GnuPG, or run this program from its package, which brings it")
	case errors.Is(err, fs.ErrExist):
		return cli.WithHint(err, "give a directory that does not exist with --gpghome")
	case err != nil:
		return err
	}
	fmt.Fprintf(e.Stderr, "private key: %s\nfingerprint: %s\n", req.Home, key.Fingerprint)
	if _, err := e.Stdout.Write(key.Public); err != nil {
		return cli.WithHint(fmt.Errorf("write public key: %w", err),
			fmt.Sprintf("the key pair was made; print its public key with: gpg --homedir %s --armor --export", req.Home))
	}
	return nil
}
