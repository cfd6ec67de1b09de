package generation

import (
	"os/exec"
	"testing"
	"time"
)

func TestOnlyOneRuns(t *testing.T) {
	t.Parallel()
	for load, want := range map[string]bool{
		"0.00 0.01 0.05 1/149 16499\n": true,
		"0.00 0.01 0.05 2/149 16499\n": false,
		"0.00 0.01 0.05 11/149 1\n":    false,
		"0.00 0.01 0.05\n":             false,
		"0.00 0.01 0.05 x/149 1\n":     false,
		"":                             false,
	} {
		if got := onlyOneRuns([]byte(load)); got != want {
			t.Errorf("%q: %v", load, got)
		}
	}
}

// TestWaitForReaders: while somebody else runs the wait is the grace.
func TestWaitForReaders(t *testing.T) {
	t.Parallel()
	somebody := exec.Command("sh", "-c", "while :; do :; done")
	if err := somebody.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = somebody.Process.Kill()
		_ = somebody.Wait() // it was killed
	}()
	s := &Store{Config: Config{Grace: 20 * time.Millisecond}, switched: time.Now()}
	s.waitForReaders()
	if waited := time.Since(s.switched); waited < s.Grace {
		t.Errorf("waited %v only", waited)
	}
	// When the grace is over there is no more waiting: this would be for an hour.
	s.Grace, s.switched = time.Hour, time.Now().Add(-2*time.Hour)
	s.waitForReaders()
}
