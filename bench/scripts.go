package main

import (
	"embed"
	"os"
	"path/filepath"
)

// The tools of today that are scripts.
//
//go:embed *.bash
var scripts embed.FS

// writeScript puts a script into a directory, where it can be run.
func writeScript(dir, name string) (string, error) {
	data, err := scripts.ReadFile(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, data, 0o700)
}
