//go:build slim

package remotekey

// New returns a client that asks the sops program.
func New(getenv func(string) string) Client { return NewProgram(getenv) }
