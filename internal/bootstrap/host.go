package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
)

// DefaultHostKey is the public key of the machine that this runs on, where OpenSSH and NixOS
// put it.
const DefaultHostKey = "/etc/ssh/ssh_host_ed25519_key.pub"

// findHost reads what the user gave, see [recipient.Find]: the first ed25519 key counts, or
// else the first RSA key.
func findHost(key string) (recipient.Key, error) {
	hosts, err := recipient.Find(key)
	if errors.Is(err, fs.ErrNotExist) && key == DefaultHostKey {
		err = cli.WithHint(err, "give the host's public SSH key, or a file that has it, with --host-key")
	}
	if err != nil {
		return recipient.Key{}, fmt.Errorf("host key: %w", err)
	}
	return hosts[0], nil
}
