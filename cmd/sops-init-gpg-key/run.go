package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/gnupg"
	"github.com/sops-initrd/sops-initrd/internal/keytool"
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

func newFlags(req *gnupg.Request) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.StringVar(&req.Hostname, "hostname", "", "")
	f.StringVar(&req.Home, "gpghome", "/root/.gnupg", "")
	f.StringVar((*string)(&req.Type), "keytype", string(gnupg.RSA), "")
	return f
}

func run(e cli.Env) int {
	var req gnupg.Request
	f := newFlags(&req)
	if done, status := keytool.Start(e, f, usage); done {
		return status
	}
	if req.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return cli.Report(e, program, cli.WithHint(err, "give the name with --hostname"))
		}
		req.Hostname = name
	}
	if err := req.Check(); err != nil {
		return keytool.Misuse(e, f, err)
	}
	return cli.Report(e, program, generate(e, req))
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
	_, err = fmt.Fprintf(e.Stderr, "private key: %s\nfingerprint: %s\n", req.Home, key.Fingerprint)
	if err == nil {
		_, err = e.Stdout.Write(key.Public)
	}
	if err != nil {
		return cli.WithHint(fmt.Errorf("write public key: %w", err),
			fmt.Sprintf("the key pair was made; print its public key with: gpg --homedir %s --armor --export", req.Home))
	}
	return nil
}
