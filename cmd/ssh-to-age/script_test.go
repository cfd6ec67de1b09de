package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/keytool"
	"github.com/sops-initrd/sops-initrd/internal/manpage"
	"github.com/sops-initrd/sops-initrd/internal/test/scripttest"
)

func TestMain(m *testing.M) {
	scripttest.Main(m, map[string]func(cli.Env) int{program: run})
}

// The scripts find the test keys in $KEYS.
func TestScripts(t *testing.T) {
	t.Parallel()
	keys, err := filepath.Abs("../../internal/test/testkeys/testdata")
	if err != nil {
		t.Fatal(err)
	}
	scripttest.Run(t, func(env *testscript.Env) error {
		env.Setenv("KEYS", keys)
		return nil
	})
}

func TestManPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/man/" + program + ".1.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := manpage.Check(newFlags(new(keytool.Conversion)), usage, string(page)); err != nil {
		t.Error(err)
	}
}
