package pattern

import "testing"

func TestLazy(t *testing.T) {
	t.Parallel()
	digits := New(`^[0-9]{3}$`)
	if !digits().MatchString("123") || digits().MatchString("12a") {
		t.Error("the expression is another one")
	}
	if again := digits(); again != digits() {
		t.Error("it was compiled twice")
	}
	broken := New(`(`) // costs nothing until it is used
	defer func() {
		if recover() == nil {
			t.Error("a syntax error was not told")
		}
	}()
	broken()
}
