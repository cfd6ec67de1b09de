package initrdsecrets

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/resolve"
)

// hostKeys are where a NixOS host has its keys by default: those of OpenSSH, and the file of
// sops.age.keyFile in most configurations.
func hostKeys() manifest.KeySources {
	return manifest.KeySources{
		AgeSSHKeyPaths: []string{"/etc/ssh/ssh_host_ed25519_key"},
		SSHKeyPaths:    []string{"/etc/ssh/ssh_host_rsa_key"},
		AgeKeyFile:     "/var/lib/sops-nix/key.txt",
	}
}

// Diagnose says why this host can, or cannot, decrypt: all that a manifest asks for, or one
// sops file with the keys of a manifest, or without one with the keys that a host has by
// default.
func Diagnose(ctx context.Context, manifestPath, sopsFile string, o Options) (*resolve.Diagnosis,
	error,
) {
	req := resolve.Request{Keys: hostKeys(), UserMode: manifestPath == "" && os.Geteuid() != 0}
	if manifestPath != "" {
		// those of activation have the same sources of keys and secrets
		m, err := manifest.ReadInitrd(manifestPath)
		if err != nil {
			return nil, err
		}
		req = resolve.Request{Keys: m.Keys, Secrets: m.Secrets}
	}
	if sopsFile != "" {
		abs, err := filepath.Abs(sopsFile)
		if err != nil {
			return nil, err
		}
		if err := wrongKind(sopsFile, sopsFileKind); err != nil {
			return nil, err
		}
		req.Secrets = []manifest.Source{{
			Name: filepath.Base(abs), SopsFile: abs,
			Format: manifest.FormatOf(abs),
		}}
	}
	req.Getenv, req.Timeout = o.Getenv, o.Timeout
	return resolve.Run(ctx, req).Diagnosis(), nil
}
