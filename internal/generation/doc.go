// Package generation keeps the installed secrets of a machine: a file system in memory with one
// numbered directory for each generation, and the symbolic link to the one that is live.
//
//	/run/secrets.d/41/…       the generation that was live before, if it is kept
//	/run/secrets.d/42/…       the live one
//	/run/secrets.d/.42.json   what the installer noted about it
//	/run/secrets              -> /run/secrets.d/42
//
// A generation is written in a directory that nobody else can enter, gets its number by a rename
// when it is whole, and becomes live by the rename of one symbolic link. So at every moment,
// whatever is interrupted:
//
//   - the link points to a whole generation, the old one or the new one;
//   - a file has its owner and mode before anybody can reach it, whatever the umask is;
//   - what an interrupted run left is removed or replaced by the next one.
//
// Runs are serialised by a lock on a file beside the mount point (/run/secrets.d.lock). It is not
// the directory itself, because the file system is mounted there under the lock, and not its
// parent, because anybody may lock that.
//
// Old generations are removed at the end of the run, whoever has their directories open: a run
// waits for no stranger. Whoever reads several files as one set needs a generation more to be
// kept.
//
// All of it lives in memory, so nothing is synced.
package generation
