// Sops-init-gpg-key makes an OpenPGP key pair for a machine, without a passphrase, in a gpg home
// directory of its own, and prints the public key. Usage text and manual: usage in run.go and
// docs/man/sops-init-gpg-key.1.md.
package main
