//go:build slim && !man

package main

import "github.com/spf13/cobra"

// addManCommand adds nothing to a slim program.
func addManCommand(*cobra.Command) {}
