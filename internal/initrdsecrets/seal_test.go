package initrdsecrets

import (
	"fmt"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/seal"
)

// TestFormats holds the formats that manifests may name to those that can be made.
func TestFormats(t *testing.T) {
	t.Parallel()
	for _, f := range []seal.Format{seal.Null, seal.TPM2, seal.TPM2SRK, "tpm3"} {
		text := fmt.Sprintf(`{"version": 2, "seal": {"format": %q}, "entries": []}`, f)
		if _, err := manifest.ParseInitrd([]byte(text)); (err == nil) != f.Sealed() {
			t.Errorf("%s: the manifest says %v, and sealing with it is %v", f, err, f.Sealed())
		}
	}
}
