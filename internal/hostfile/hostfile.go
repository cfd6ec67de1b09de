// Package hostfile answers what is asked about files of this host: who can write and read them,
// which file system they are on, what their kinds and modes are called, and which way to a
// directory is safe.
package hostfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Writers says who but root and the caller can write what info, which [os.Lstat] or the like
// gave, describes; "" for nobody. For a directory, that is who can change what its names mean.
func Writers(info fs.FileInfo) string {
	if who := stranger(info); who != "" {
		return who
	}
	if info.Mode()&0o022 != 0 {
		return "can be written by others (mode " + Octal(info.Mode()) + ")"
	}
	return ""
}

func stranger(info fs.FileInfo) string {
	uid := info.Sys().(*syscall.Stat_t).Uid
	if uid == 0 || int64(uid) == int64(os.Geteuid()) {
		return ""
	}
	return fmt.Sprintf("belongs to user %d", uid)
}

// Replacers says who but root and the caller can write a file or directory, or put another in its
// place, because they can write it or a directory above it; "" for nobody. In a sticky directory,
// such as /tmp, only the owner of a name can replace it.
func Replacers(path string) (string, error) {
	real, err := canonical(path)
	if err != nil {
		return "", err
	}
	for p := real; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return "", err
		}
		who := Writers
		if p != real && info.Mode()&fs.ModeSticky != 0 {
			who = stranger
		}
		if who := who(info); who != "" {
			return p + " " + who, nil
		}
		if p == "/" {
			return "", nil
		}
	}
}

// Readable reports whether others than its owner and root can read a file or list a directory: by
// its mode, and that of all directories above.
func Readable(path string) (bool, error) {
	real, err := canonical(path)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return false, err
	}
	return ReadableWith(filepath.Dir(real), info.Mode())
}

// ReadableWith is [Readable] for a file of the given mode in a directory.
func ReadableWith(dir string, mode fs.FileMode) (bool, error) {
	real, err := canonical(dir)
	if err != nil {
		return false, err
	}
	loose := mode.Perm() & 0o044 // who of group and others can read it
	for p := real; loose != 0; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return false, err
		}
		loose &= info.Mode().Perm() << 2 // and can pass the directory
		if p == "/" {
			break
		}
	}
	return loose != 0, nil
}

// MountPoint is the uppermost directory on the way to path that is on the same file system. A
// bind mount of the same file system is not seen.
func MountPoint(path string) (string, error) {
	p, err := canonical(path)
	if err != nil {
		return "", err
	}
	var own, up unix.Stat_t
	if err := unix.Stat(p, &own); err != nil {
		return "", &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	for ; p != "/"; p = filepath.Dir(p) {
		if err := unix.Stat(filepath.Dir(p), &up); err != nil {
			return "", &fs.PathError{Op: "stat", Path: filepath.Dir(p), Err: err}
		}
		if up.Dev != own.Dev {
			break
		}
	}
	return p, nil
}

// Types of file systems, as statfs(2) gives them (Linux, include/uapi/linux/magic.h, and the
// sources of those that are not in it).
const (
	Bcachefs = 0xca451a4e
	Btrfs    = 0x9123683e
	ExFAT    = 0x2011bab0
	FAT      = 0x4d44
	NTFS     = 0x5346544e
	NTFS3    = 0x7366746e
	OCFS2    = 0x7461636f
	RAMFS    = 0x858458f6
	Tmpfs    = 0x01021994
	XFS      = 0x58465342
	ZFS      = 0x2fc12fc1
)

// Modeless reports whether files have no modes of their own on a file system of this type, as
// statfs(2) gives it, but those of the mount's options.
func Modeless(magic int64) bool {
	switch magic {
	case FAT, ExFAT, NTFS, NTFS3:
		return true
	}
	return false
}

// Closing says how to keep others from reading a file of dir, which has modes or not.
func Closing(dir, file string, modeless bool) string {
	if !modeless {
		return "chmod go= " + file
	}
	point, err := MountPoint(dir)
	if err != nil {
		point = dir
	}
	return fmt.Sprintf("mount %s with the option umask=0077", point)
}

func canonical(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
}
