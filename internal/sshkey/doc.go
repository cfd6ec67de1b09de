// Package sshkey reads SSH keys and says what else they are: age identities and OpenPGP keys.
//
// An ed25519 key is two age identities: the raw one, to which files for the recipient "ssh-ed25519
// AAAA…" are encrypted, and its conversion to X25519, whose recipient begins with "age1" and is
// what ssh-to-age prints. An RSA key is the age identity "ssh-rsa AAAA…" and an OpenPGP key whose
// creation time is 0, so that its fingerprint depends on the key alone (ssh-to-pgp does the same).
//
// Nothing here opens a file, and no error contains a byte of a private key.
package sshkey
