// Package template puts secrets into texts.
//
// A text is read once, from its beginning to its end: what a placeholder was replaced by is
// never looked at again, so that a secret whose value looks like a placeholder stays what it
// is. Where two placeholders begin at the same place the longer one counts.
package template
