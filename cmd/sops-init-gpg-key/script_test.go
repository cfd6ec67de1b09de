package main

import (
	"os"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/gnupg"
	"github.com/sops-initrd/sops-initrd/internal/manpage"
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
)

func TestMain(m *testing.M) {
	scripttest.Main(m, map[string]func(cli.Env) int{program: run})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	scripttest.Need(t, "gpg", "gpgconf", "gpg-agent")
	scripttest.Run(t, nil)
}

func TestManPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/man/" + program + ".1.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := manpage.Check(newFlags(new(gnupg.Request)), usage, string(page)); err != nil {
		t.Error(err)
	}
}
