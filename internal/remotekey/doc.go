// Package remotekey decrypts data keys that live outside this host: AWS KMS, Google Cloud KMS, Azure Key Vault, Huawei Cloud
// KMS, HashiCorp Vault.
//
// The full program does it in process, with the clients that sops links. The slim program (build tag slim) has none of them and
// asks the sops program instead, through sops's own key service protocol: it starts "sops keyservice" on a socket that nobody
// else can reach, when the first such key is met, and ends it when it is closed. Only the encrypted data key goes there and only
// the data key comes back; the file's values never leave this process.
package remotekey
