// Package lockout decides whether stage 1 would still let its owner in, before anything is written
// that makes it the default. It says nothing where it does not know: a false alarm would have it
// switched off.
package lockout
