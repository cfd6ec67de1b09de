// Package vmtests boots real kernels in QEMU and holds this project to what they do. It has tests
// only; the harness is in vmtests/vm, the demo in vmtests/demo.
//
// A test skips, with the reason, where QEMU, the kernel or a tool is missing; with
// VMTESTS_REQUIRED=1 or CI=true it fails. VMTEST_KERNEL names the directory of an unpacked kernel
// package to boot instead of Debian's stable one. VMTESTS_ALL=1 adds the long cases.
package vmtests
