package seal

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"
)

// File is a file that stage 1 gets out of a credential.
type File struct {
	Path     string // absolute
	Mode     fs.FileMode
	UID, GID uint32
	Data     []byte
}

// Tmpfiles lists files in the format of tmpfiles.d(5), contents included, so that one credential
// holds all of them and systemd-tmpfiles lays them out with owner and mode: opening a credential
// costs stage 1 a command of the TPM that can take a second, whatever its size.
func Tmpfiles(files []File) []byte {
	var b strings.Builder
	for _, f := range files {
		// "+": what an initrd has at this path is replaced. "~": the content is base64.
		fmt.Fprintf(&b, "f+~ \"%s\" %04o %d %d - %s\n", quote.Replace(f.Path), f.Mode.Perm(), f.UID, f.GID,
			base64.StdEncoding.EncodeToString(f.Data))
	}
	return []byte(b.String())
}

// quote writes a path so that blanks, quotes and specifiers in it stand for themselves.
var quote = strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`)
