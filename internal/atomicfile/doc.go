// Package atomicfile replaces files as a whole: after a fault or a power cut a reader finds the
// old file or the new one, never a mixture and never nothing. It also has the locks that make
// runs wait for each other.
//
// The order is: write a temporary file beside the target, sync it, rename it over the target,
// sync the file once more, sync the directory. The second sync of the file is for vfat, where the
// directory entry's start cluster and size are written back with the file's inode: with the usual
// order (rename, sync directory) an entry was found, in crash tests, that still pointed at the
// freed clusters of the old file.
//
// What is true after a stop at each step:
//
//	write, sync          old file; a temporary file (mode 0600) stays until the next run there
//	rename               old or new file
//	sync file, directory new file
//
// All temporary files have one prefix and are locked by those who write them, so that every run
// can remove what others left when they were killed ([RemoveStale]), and nothing else.
//
// All access to the file system goes through a [Layer], so that a test can fail or stop it at any
// single operation (package faults).
package atomicfile
