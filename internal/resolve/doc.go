// Package resolve is the half of the road that activation and the initrd share: from the
// secrets and templates of a manifest to their values.
//
// Every sops file is read and decrypted once, whatever the number of its secrets. Every secret
// and template stands for itself: one that cannot be had has an error of its own and does not
// touch the others.
package resolve
