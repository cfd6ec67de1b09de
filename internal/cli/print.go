package cli

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// priority is that of syslog(3), in the form that the journal takes off the beginning of a line
// (sd-daemon(3)).
type priority string

const (
	errPriority     priority = "<3>"
	warningPriority priority = "<4>"
	noticePriority  priority = "<5>"
	notePriority    priority = "<6>"
)

// printLines prints text with prefix before its first line; further lines are indented. In the
// journal each line has its priority, so that "journalctl -p err" finds it.
func printLines(e Env, p priority, prefix, text string) {
	if !toJournal(e) {
		p = ""
	}
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(string(p) + prefix + Visible(line) + "\n")
		prefix = "  "
	}
	fmt.Fprint(e.Stderr, b.String())
}

// toJournal says whether standard error goes to the journal: JOURNAL_STREAM has the device and
// inode of what systemd connected (systemd.exec(5)).
func toJournal(e Env) bool {
	f, ok := e.Stderr.(*os.File)
	if !ok || e.Getenv == nil || e.Getenv("JOURNAL_STREAM") == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && e.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
