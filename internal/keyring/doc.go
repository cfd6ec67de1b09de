// Package keyring opens the data keys of sops files with the keys of this host.
//
// Identities live in memory: key files are read, nothing is written, no environment variable is
// set. A key source that is missing or broken is not an error while another one fits; it is kept
// with its reason, for the message that is needed when nothing fits.
//
// What may start a program (a plugin of age, gpg, a command that prints keys) is a second step that
// is asked for apart, so that keys in memory are tried on everything before.
package keyring
