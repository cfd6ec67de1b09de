// Package vm boots real kernels in QEMU and reports what the guest saw.
//
// A guest is a kernel, an initrd, and an init that ends by printing DONE and powering off. What it
// found out it prints on the serial console, one line each:
//
//	RESULT name ok|fail detail
//
// Everything that has to be true is decided by the caller, from those lines; the guest only
// describes. [Tree] builds the archives and directories that guests run from, [Prelude] is the
// shell half of the protocol.
package vm
