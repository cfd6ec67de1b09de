// Package seal makes and opens encrypted credentials of systemd whose key only one TPM gives out,
// so that stage 1 can open them with its stock programs and nobody can who has the disk alone.
//
// A credential is made in three steps: 32 random bytes are sealed in an object of the TPM, their
// SHA-256 is the key of AES-256-GCM, and headers that name the object are additional data of that
// cipher (systemd, src/shared/creds-util.c). [Seal] does it with the TPM of this machine, [SealFor]
// with the public key of another machine's, without any TPM.
//
// Whoever has that public key can seal: that a credential opens does not say who made it.
package seal
