//go:build !slim

package remotekey

import "github.com/getsops/sops/v3/keyservice"

type inProcess struct{ keyservice.LocalClient }

func (inProcess) Close() error { return nil }

// New returns a client that uses sops's own clients in this process.
func New(func(string) string) Client { return inProcess{keyservice.NewLocalClient()} }

// Available says why no key outside this host can be asked for here, as far as that shows without asking.
func Available(func(string) string) error { return nil }
