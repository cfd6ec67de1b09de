package cli

import (
	"runtime/debug"
	"strings"
)

// version is set at link time: -ldflags "-X github.com/sops-initrd/sops-initrd/internal/cli.version=1.2.3".
var version string

// Version says which build of the program this is: the version given at link time, else what the Go toolchain recorded.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := strings.Trim(info.Main.Version, "()")
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "devel" {
			v += " " + s.Value
		}
	}
	return v
}
