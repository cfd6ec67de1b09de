// Package keytool is what the programs that make and convert keys have in common on their command
// lines: help and version, where a key is read from, its passphrase, and where the result goes.
package keytool

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// maxInputBytes is more than any file of keys has: a device or the wrong file must not fill the
// memory.
const maxInputBytes = 16 << 20

// Start parses the arguments of a program that takes options only. If it returns true, all is done
// (help, version, a wrong command line) and the program ends with status.
func Start(e cli.Env, f *flag.FlagSet, usage string) (done bool, status int) {
	f.SetOutput(io.Discard) // Report prints the errors
	version := f.Bool("version", false, "")
	switch err := f.Parse(e.Args); {
	case errors.Is(err, flag.ErrHelp):
		return true, cli.Report(e, f.Name(), printed(io.WriteString(e.Stdout, usage)))
	case err != nil:
		return true, Misuse(e, f, err)
	case *version:
		return true, cli.Report(e, f.Name(), printed(fmt.Fprintln(e.Stdout, f.Name(), cli.Version())))
	case f.NArg() > 0:
		return true, Misuse(e, f, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	return false, 0
}

func printed(_ int, err error) error { return err }

// Misuse reports a wrong command line and returns the exit status for it.
func Misuse(e cli.Env, f *flag.FlagSet, err error) int {
	return cli.Report(e, f.Name(), cli.Usage(cli.WithHint(err, f.Name()+" -help shows all options")))
}

// Conversion is the command line of a program that converts keys.
type Conversion struct {
	Private   bool   // -private-key: the private half is wanted
	In, Out   string // -i, -o: "-" is standard input and output
	StdinPass bool   // -stdinpass: the passphrase comes from standard input
}

// Define adds the options to f.
func (c *Conversion) Define(f *flag.FlagSet) {
	f.BoolVar(&c.Private, "private-key", false, "")
	f.StringVar(&c.In, "i", "-", "")
	f.StringVar(&c.Out, "o", "-", "")
	f.BoolVar(&c.StdinPass, "stdinpass", false, "")
}

// Check says what is wrong with the options, before anything is read.
func (c *Conversion) Check() error {
	if c.StdinPass && c.In == "-" {
		return errors.New("key and passphrase cannot both come from standard input: give the key with -i FILE")
	}
	return nil
}

// Explain names the input in every fault of a joined error and says how to give a passphrase that
// is missing.
func (c *Conversion) Explain(err error, variable string) error {
	source := c.In
	if source == "-" {
		source = "standard input"
	}
	parts := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // takes a join apart
		parts = joined.Unwrap()
	}
	var faults []error
	for _, part := range parts {
		faults = append(faults, fmt.Errorf("%s: %w", source, part))
	}
	err = errors.Join(faults...)
	if errors.Is(err, sshkey.ErrPassphrase) {
		return cli.WithHint(err, "set "+variable+", or give the passphrase with -stdinpass")
	}
	return err
}

// Read reads the key and the passphrase, which variable of the environment has if standard input
// has not.
func (c *Conversion) Read(e cli.Env, variable string) (key, passphrase []byte, err error) {
	if key, err = c.readKey(e); err != nil {
		return nil, nil, err
	}
	if !c.StdinPass {
		return key, []byte(e.Getenv(variable)), nil
	}
	if passphrase, err = readAll(e.Stdin); err != nil {
		return nil, nil, fmt.Errorf("read passphrase: %w", err)
	}
	return key, bytes.TrimRight(passphrase, "\r\n"), nil
}

func (c *Conversion) readKey(e cli.Env) ([]byte, error) {
	if c.In == "-" {
		key, err := readAll(e.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return key, nil
	}
	f, err := os.Open(c.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.In, err)
	}
	return key, nil
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInputBytes+1))
	if err == nil && len(data) > maxInputBytes {
		err = fmt.Errorf("more than %d MiB: no file of keys", maxInputBytes>>20)
	}
	return data, err
}

// Write writes the result. A file is made for it with mode 0600; one that exists stays as it is and
// is an error. After an error there is no file. What is no file (a device, a pipe, a terminal) is
// written to.
func (c *Conversion) Write(e cli.Env, data []byte) error {
	if c.Out == "-" || c.Out == "/dev/stdout" {
		if _, err := e.Stdout.Write(data); err != nil {
			return fmt.Errorf("write standard output: %w", err)
		}
		return nil
	}
	if info, err := os.Stat(c.Out); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return writeTo(c.Out, data)
	}
	err := atomicfile.WriteNew(c.Out, data, 0o600)
	if errors.Is(err, os.ErrExist) {
		return cli.WithHint(err, "files are never overwritten: move it away or give another name with -o")
	}
	return err
}

func writeTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
