package cli

import (
	_ "embed"
	"runtime/debug"
	"strings"
)

// number is the version of this tree, for all programs and packages.
//
//go:embed VERSION
var number string

// Version says which build of the program this is: the release, and the revision where the Go
// toolchain recorded one.
func Version() string {
	v := strings.TrimSpace(number)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			v += "+" + s.Value[:min(len(s.Value), 12)]
		}
	}
	return v
}
