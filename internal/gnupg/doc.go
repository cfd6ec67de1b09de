// Package gnupg makes OpenPGP key pairs for machines with the gpg program: in a home directory of
// their own that appears complete or not at all.
package gnupg
