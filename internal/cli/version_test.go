package cli

import (
	"regexp"
	"testing"
)

// TestVersion: the number of a release, and which revision it is.
func TestVersion(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(\+[0-9a-f]{12})?$`).MatchString(Version()) {
		t.Errorf("Version() = %q", Version())
	}
}
