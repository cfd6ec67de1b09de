// Package deps keeps the module's direct dependencies in go.mod until the packages that import them exist.
package deps

import (
	_ "filippo.io/age"
	_ "filippo.io/age/agessh"
	_ "filippo.io/age/plugin"
	_ "github.com/ProtonMail/go-crypto/openpgp"
	_ "github.com/cavaliergopher/cpio"
	_ "github.com/getsops/sops/v3"
	_ "github.com/getsops/sops/v3/cmd/sops/common"
	_ "github.com/getsops/sops/v3/decrypt"
	_ "github.com/getsops/sops/v3/keyservice"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/pierrec/lz4/v4"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/cobra/doc"
	_ "github.com/u-root/u-root/pkg/cpio"
	_ "github.com/ulikunitz/xz"
	_ "golang.org/x/crypto/ssh"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
)
