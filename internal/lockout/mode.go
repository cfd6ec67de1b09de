package lockout

import "errors"

// Mode says what becomes of a danger.
type Mode string

// The modes.
const (
	Off  Mode = "off"  // nothing is looked at
	Warn Mode = "warn" // it is said
	Fail Mode = "fail" // nothing is written
)

// ParseMode reads a mode. The error names what is allowed.
func ParseMode(text string) (Mode, error) {
	switch m := Mode(text); m {
	case Off, Warn, Fail:
		return m, nil
	}
	return Off, errors.New("warn, fail or off")
}
