// Package slim holds what the slim programs are built from: stand-ins for the packages of sops that link the software
// development kits of AWS, Google Cloud, Azure, Huawei Cloud and HashiCorp Vault, which are two thirds of a program that
// decrypts sops files.
//
// The stand-ins repeat their methods on purpose: the vendored tree has no package that they could share, and sops makes keys by
// naming fields, which embedding would hide.
//
// Sops itself stays as it is in go.mod. The overlay that scripts/slim writes (go help build, -overlay) puts the file of each
// directory here in the place of the files of the sops package of the same name in the vendored tree. A stand-in keeps the
// metadata of its kind of key, so that files which are also encrypted for such a key can be read and told apart; it cannot
// encrypt or decrypt. A slim program hands those keys to the sops program (internal/remotekey). The gRPC of sops's key services and the
// database driver of sops's audit log go, too; where a host wants that log, a slim program refuses to decrypt.
package slim
