package generation

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ReadersGrace is how long the generation that was live until now is kept at most after the switch, even if it is to be
// pruned: a reader that followed the link just before may still be on its way to the file.
const ReadersGrace = 100 * time.Millisecond

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of linux/membarrier.h.
const membarrierGlobal = 1

// readersPoll is how soon it is looked again whether all readers are past that way; the first times it is sooner.
const (
	readersPoll      = time.Millisecond
	firstReadersPoll = readersPoll / 16
)

// waitForReaders waits until those who looked up a path before the switch have opened their file. Whoever is on the way through
// a path runs, or is ready to run: as soon as nobody else does, nobody is. On a machine that is never idle the grace ends it, and after it what the
// kernel has for such a case: paths are looked up under RCU where that can be (Documentation/filesystems/path-lookup.rst), and
// the global membarrier lasts until all that began before it has ended, however long it was interrupted (membarrier(2)).
func (s *Store) waitForReaders() {
	poll := firstReadersPoll
	for end := s.switched.Add(s.Grace); time.Now().Before(end); poll = min(2*poll, readersPoll) {
		load, err := os.ReadFile("/proc/loadavg")
		if err == nil && onlyOneRuns(load) {
			return
		}
		time.Sleep(poll)
	}
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0) // not all kernels have it
}

// onlyOneRuns says whether the reader of this content of /proc/loadavg is the only thread of the machine that runs or is ready
// to run: the number before the slash (proc(5)).
func onlyOneRuns(loadavg []byte) bool {
	fields := bytes.Fields(loadavg)
	if len(fields) < 4 {
		return false
	}
	running, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, err := strconv.Atoi(string(running))
	return err == nil && n <= 1
}
