package main

import (
	"testing"

	"sops-initrd/internal/testkeys"
)

func TestRun_leak(t *testing.T) {
	t.Parallel()
	testkeys.CheckProgram(t, run)
}
