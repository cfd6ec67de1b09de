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
	release, commit, _ := Build()
	if commit == "" {
		return release
	}
	return release + "+" + commit[:min(len(commit), 12)]
}

// Build says of what the program was made: the release, the commit where the Go toolchain recorded
// one, and the version of that.
func Build() (release, commit, toolchain string) {
	release = strings.TrimSpace(number)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release, "", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return release, commit, info.GoVersion
}
