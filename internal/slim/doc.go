// Package slim holds what the small programs are built from: stand-ins for the packages of sops
// that link the software development kits of AWS, Google Cloud, Azure, Huawei Cloud and HashiCorp
// Vault, gRPC, or a database driver. Those are two thirds of a program that decrypts sops files.
//
// Sops itself stays as it is in go.mod. The overlay that scripts/slim writes (go help build,
// -overlay) puts the file of each directory here in the place of the files of the sops package of
// the same name in the vendored tree. A stand-in keeps the metadata of its kind of key, so that
// files which are also encrypted for such a key can be read; where one is needed the program hands
// over to the full one (internal/remotekey).
package slim
