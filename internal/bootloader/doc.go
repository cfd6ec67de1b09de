// Package bootloader knows boot loaders: what their menus look like, which secrets their entries
// would boot with, and how to give secrets to entries whose installer knows nothing of them.
//
// Each loader is one file and one row of the table in loader.go. [Find] and [Read] read menus,
// [Look] compares them with the systems that they boot, [Install] runs an installer as it is and
// then adds the secrets.
//
// Every generation's image is made by that generation's own appender, the program that its system
// names. So it has its own manifest and the tools of its time, as with loaders that call
// appenders.
package bootloader
