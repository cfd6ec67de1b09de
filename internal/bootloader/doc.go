// Package bootloader gives secrets to the boot entries of loaders whose installers know nothing of them, or fail to say when
// it went wrong. It runs the installer as it is and looks after what it left behind.
//
// Every generation is provisioned by its own appender, the program that its system names, so with its own manifest and the
// tools of its time, as boot loaders with support do it.
package bootloader
