package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sops-initrd/sops-initrd/internal/cli"
)

// jsonVersion is that of the objects that --json prints, which docs/reference/output.schema.json
// describes. In one version fields may come, and none goes or changes.
const jsonVersion = 1

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print the result as JSON")
}

// printJSON prints an object with its version.
func printJSON(w io.Writer, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	if head := fmt.Appendf(nil, `{"version":%d,`, jsonVersion); !bytes.HasPrefix(data, head) {
		data = append(head, data[1:]...)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return err
	}
	_, err = w.Write(append(out.Bytes(), '\n'))
	return err
}

// failure is what --json prints when there is no result.
type failure struct {
	Errors []cli.Fault `json:"errors"`
}

// written counts what was printed as a result.
type written struct {
	io.Writer
	n int
}

func (w *written) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += n
	return n, err
}

// printFailure tells programs that read JSON why there is no result, if nothing was printed.
func printFailure(c *cobra.Command, w *written, err error) {
	asJSON := c.Flags().Lookup("json")
	if err == nil || w.n > 0 || asJSON == nil || asJSON.Value.String() != "true" {
		return
	}
	_ = printJSON(w, failure{cli.Faults(err)}) // standard error has it as well
}
