// Package bootstrap makes the first secrets of an initrd: an SSH host key and, if wanted, the
// key file of a LUKS device. They exist in memory and, encrypted, in a new sops file; nothing
// else is ever written.
//
// The sops program encrypts, so that the creation rules of .sops.yaml, with all kinds of
// recipients, mean here what they mean to everybody else who encrypts for them. It gets the
// plaintext through a pipe.
package bootstrap
