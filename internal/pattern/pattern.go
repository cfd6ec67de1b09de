// Package pattern has regular expressions that are compiled when they are first used. Most runs of
// a program use few of its expressions, and to compile one takes as long as to decrypt several
// secrets.
package pattern

import (
	"regexp"
	"sync"
)

// Lazy is a regular expression that is compiled by the first call, from whatever goroutine it
// comes.
type Lazy func() *regexp.Regexp

// New returns an expression. A syntax error panics in the first call, as in [regexp.MustCompile].
func New(expression string) Lazy {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
