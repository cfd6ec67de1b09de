package main

import (
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

func TestRun_leak(t *testing.T) {
	t.Parallel()
	testkeys.CheckProgram(t, run)
}
