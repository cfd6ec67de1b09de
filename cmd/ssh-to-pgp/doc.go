// Ssh-to-pgp converts RSA SSH keys to OpenPGP keys. Its usage text is in run.go, its manual in
// docs/man/ssh-to-pgp.1.md.
package main
