// Package initrd installs files into the initial RAM disk image that a boot loader hands to the Linux kernel.
package initrd
