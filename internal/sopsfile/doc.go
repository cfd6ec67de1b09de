// Package sopsfile reads files that sops has encrypted.
//
// A file is opened once and decrypted once; after that every value is a look-up. What sops knows
// how to do is left to it: reading and writing the formats (but for plain YAML, which is read in
// half the time, to the same tree), the cipher, the message authentication code. Own is the way to
// the data key (local keys before the network, a deadline for each key), the choice of values by
// key, and the errors: those of sops may quote plaintext or authentication codes, so that none of
// them is passed on.
//
// # Values by key
//
// A key is a path whose elements are separated by slashes. At each level the shortest element is
// tried first, then, where it leads to nothing, longer ones that contain slashes themselves: "a/b"
// is b in a, and if there is no such thing the value named "a/b". An element of a list is chosen by
// its number, from 0. Where a name stands twice in a map the last one counts, as for the JSON
// readers of this world. In a file of several YAML documents they are searched in their order.
//
// A string is its bytes. A number, a boolean or null is printed as sops prints it in the file's
// format, without the line end. A map or a list is printed as sops prints it, in the file's format;
// of INI, which has no format for the inside of a section, a whole section with its header. The
// empty key is the whole file, as "sops decrypt" prints it.
package sopsfile
