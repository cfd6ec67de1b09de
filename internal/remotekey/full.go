//go:build !slim

package remotekey

import "github.com/getsops/sops/v3/keyservice"

type inProcess struct{ keyservice.LocalClient }

func (inProcess) Close() error { return nil }

// New returns a client that uses sops's own clients in this process.
func New(func(string) string) Client { return inProcess{keyservice.NewLocalClient()} }
