// Ssh-to-age converts ed25519 SSH keys to age keys. Its usage text is in run.go, its manual in
// docs/man/ssh-to-age.1.md.
package main
