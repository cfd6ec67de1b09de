// Package publish stands in for sops's package of the same name, which uploads files to S3, Google Cloud Storage and Vault.
// It is linked only because reading a .sops.yaml knows its types; nothing here publishes anything.
package publish

import "errors"

// Destination is a place that sops publishes files to.
type Destination interface {
	Upload(contents []byte, name string) error
	UploadUnencrypted(data map[string]any, name string) error
	Path(name string) string
}

type nowhere struct{}

var errSlim = errors.New("this program was built without publishing")

func (nowhere) Upload([]byte, string) error                    { return errSlim }
func (nowhere) UploadUnencrypted(map[string]any, string) error { return errSlim }
func (nowhere) Path(name string) string                        { return name }

// NewS3Destination makes a destination that fails.
func NewS3Destination(bucket, prefix string) Destination { return nowhere{} }

// NewGCSDestination makes a destination that fails.
func NewGCSDestination(bucket, prefix string) Destination { return nowhere{} }

// NewVaultDestination makes a destination that fails.
func NewVaultDestination(address, path, mount string, version int) Destination { return nowhere{} }
