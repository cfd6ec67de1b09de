package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Progress tells what takes longer than a second, and for how long: on a terminal in a line that
// goes away again, and to systemd. It is nil where nobody looks (package progress).
func Progress(e Env) func(what string) (done func()) {
	terminal := isTerminal(e.Stderr)
	if !terminal && e.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	show := func(text string) {
		Status(e, text)
		if terminal {
			const width, clearLine = 79, "\r\x1b[K"
			runes := []rune(Visible(text))
			// The cursor goes back, so that a message in the middle begins a line.
			fmt.Fprint(e.Stderr, clearLine+string(runes[:min(len(runes), width)])+"\r")
		}
	}
	return func(what string) func() {
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			begun, shown := time.Now(), false
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					if shown {
						show("")
					}
					return
				case <-tick.C:
					show(fmt.Sprintf("%s, %d s", what, int(time.Since(begun).Seconds())))
					shown = true
				}
			}
		}()
		return func() { close(stop); <-ended }
	}
}

// isTerminal is true for other devices that print, too: a console.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
