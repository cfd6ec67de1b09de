// Package remotekey opens data keys with keys that live outside this host: AWS KMS, Google Cloud
// KMS, Azure Key Vault, Huawei Cloud KMS, HashiCorp Vault.
//
// Sops's clients of those services are two thirds of a program, and most of the time that it takes
// to start. The small programs (build tag slim) are built without them. Beside each of them lies
// the full program of the same name, and the small one becomes that one, with the same arguments,
// as soon as a sops file needs such a key.
package remotekey
