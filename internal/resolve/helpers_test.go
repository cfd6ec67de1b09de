package resolve_test

import (
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// sshToAge is the age recipient of an SSH key's conversion.
func sshToAge(t *testing.T, line string) string {
	t.Helper()
	public, err := sshkey.ParsePublic(line)
	if err != nil {
		t.Fatal(err)
	}
	return public.AgeRecipient()
}
