package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/atomicfile"
	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/inputfile"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// maxFileBytes bounds the sops file that is there.
const maxFileBytes = 64 << 20

// into puts the secrets into the sops file that is there, and changes nothing else of it. sops does
// that on an encrypted copy beside the file, which takes its place as the last step.
func (e *encryption) into(ctx context.Context, info fs.FileInfo,
	secrets map[string]string,
) ([]sopsfile.Recipient, error) {
	old, err := inputfile.Read(e.File, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e.File, err)
	}
	recipients, err := e.examine(old, secrets)
	if err != nil {
		return nil, err
	}
	data, err := e.set(ctx, old, secrets)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	err = atomicfile.WriteFile(atomicfile.OS(), e.File, data,
		atomicfile.Attr{Mode: info.Mode().Perm(), UID: -1, GID: -1})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", e.File, err)
	}
	return recipients, nil
}

// examine says why the secrets cannot go into a file; else for whom it is encrypted.
func (e *encryption) examine(data []byte, secrets map[string]string) ([]sopsfile.Recipient, error) {
	file, err := sopsfile.Parse(e.File, data, e.format)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.File, err)
	}
	recipients := file.Recipients()
	if !e.host.Among(recipients) {
		_, add := e.host.Flag()
		return nil, cli.WithHint(fmt.Errorf("%s: not encrypted for this host", e.File),
			fmt.Sprintf("add %s to the rule for it in .sops.yaml, and run: sops updatekeys %s", add, e.File))
	}
	sealed, err := file.Seal()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.File, err)
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if sealed.Has(name) == nil && !e.Replace {
			faults = append(faults, cli.WithHint(fmt.Errorf("%s: it has %q already", e.File, name),
				"--replace makes it new; what knows the old one then has to learn the new one"))
		}
	}
	return recipients, errors.Join(faults...)
}

// set has sops put the secrets into a copy of a file.
func (e *encryption) set(ctx context.Context, data []byte,
	secrets map[string]string,
) (changed []byte, err error) {
	temp, err := os.CreateTemp(filepath.Dir(e.File), ".sops-initrd-*.tmp")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		index, err := json.Marshal([]string{name})
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(secrets[name])
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "sops", "set", "--input-type", string(e.format),
			"--output-type", string(e.format),
			"--value-stdin", temp.Name(), string(index))
		var said bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(value), &said
		switch err := cmd.Run(); {
		case err == nil:
		case ctx.Err() != nil:
			return nil, fmt.Errorf("sops set: %w", context.Cause(ctx))
		case contained(secrets, said.Bytes()) != "":
			return nil, errors.New("sops set failed with a message that quotes a secret and is not shown")
		default:
			return nil, cli.WithHint(fmt.Errorf("sops set: %w\n%s", err, strings.TrimSpace(said.String())),
				"it needs a key that opens "+e.File+", as sops edit does")
		}
	}
	changed, err = os.ReadFile(temp.Name())
	if err != nil {
		return nil, err
	}
	return changed, e.unencrypted(secrets, changed)
}
