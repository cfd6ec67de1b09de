package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

type encryption struct {
	Request
	format manifest.Format
	host   recipient.Key
}

// run encrypts the secrets for the recipients that .sops.yaml names for the file, and for the host.
func (e *encryption) run(ctx context.Context, secrets map[string]string) ([]byte,
	[]sopsfile.Recipient, error,
) {
	data, recipients, err := e.encrypt(ctx, secrets)
	if err != nil {
		return nil, nil, err
	}
	if e.host.Among(recipients) {
		return data, recipients, nil
	}
	flags, err := e.withHost(recipients)
	if err != nil {
		return nil, nil, err
	}
	if data, recipients, err = e.encrypt(ctx, secrets, flags...); err != nil {
		return nil, nil, err
	}
	_, add := e.host.Flag()
	if !e.host.Among(recipients) {
		return nil, nil, fmt.Errorf("encrypt %s: sops did not encrypt it for the host (%s)", e.File, add)
	}
	e.Warn(fmt.Sprintf("the rule for %s in .sops.yaml does not have the host: add %s to it, or "+
		"the next \"sops updatekeys\" "+
		"takes the host's access away", e.File, add))
	return data, recipients, nil
}

// encrypt runs sops. What comes back is a sops file, and no secret stands in it as it is: a
// rule that encrypts some keys only (encrypted_regex and the like) would put it there.
func (e *encryption) encrypt(ctx context.Context, secrets map[string]string,
	flags ...string,
) ([]byte, []sopsfile.Recipient, error) {
	input, err := plaintext(secrets)
	if err != nil {
		return nil, nil, err
	}
	data, err := e.sops(ctx, input, flags...)
	if err != nil && contained(secrets, []byte(err.Error())) != "" {
		err = errors.New("sops encrypt failed with a message that quotes a secret and is not shown")
	}
	if err != nil {
		return nil, nil, err
	}
	if err := e.unencrypted(secrets, data); err != nil {
		return nil, nil, err
	}
	file, err := sopsfile.Parse(e.File, data, e.format)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypt %s: what sops printed: %w", e.File, err)
	}
	return data, file.Recipients(), nil
}

// unencrypted says that sops left a secret as it is in a file.
func (e *encryption) unencrypted(secrets map[string]string, data []byte) error {
	name := contained(secrets, data)
	if name == "" {
		return nil
	}
	return cli.WithHint(fmt.Errorf("encrypt %s: sops leaves %q unencrypted", e.File, name),
		"the rule for it in .sops.yaml encrypts some keys only: give the file a rule without "+
			"encrypted_regex, "+
			"unencrypted_regex and the like")
}

// contained is the name of a secret of which data has a line, or empty.
func contained(secrets map[string]string, data []byte) string {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		for line := range strings.Lines(secrets[name]) {
			if bytes.Contains(data, []byte(strings.TrimSpace(line))) {
				return name
			}
		}
	}
	return ""
}

// sops gives input to the sops program through a pipe and returns what it prints.
func (e *encryption) sops(ctx context.Context, input []byte, flags ...string) ([]byte, error) {
	path, err := filepath.Abs(e.File)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"encrypt", "--input-type", "json", "--output-type", string(e.format), "--filename-override", path,
	}, flags...)
	cmd := exec.CommandContext(ctx, "sops", append(args, "/dev/stdin")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	err = cmd.Run()
	switch said := strings.TrimSpace(stderr.String()); {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("sops encrypt: %w", context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound):
		return nil, cli.WithHint(fmt.Errorf("sops encrypt: %w", err),
			"install sops, so that it is in PATH")
	default:
		// Nearly always it is the rule: there is none, or a recipient in it cannot be encrypted for.
		return nil, cli.WithHint(fmt.Errorf("sops encrypt: %w\n%s", err, said),
			"a .sops.yaml here or above needs a creation rule for "+e.File+" that names the admins and "+
				"the host")
	}
}

// withHost are the flags that replace the recipients of the rule by the same ones and the host.
// That can be said with flags for age and OpenPGP in one group only.
func (e *encryption) withHost(recipients []sopsfile.Recipient) ([]string, error) {
	flag, add := e.host.Flag()
	byFlag := map[string][]string{flag: {add}}
	for _, r := range recipients {
		flag, ok := map[string]string{"age": "--age", "pgp": "--pgp"}[r.Type]
		if !ok || r.Group > 0 {
			return nil, cli.WithHint(fmt.Errorf("encrypt %s: the rule for it in .sops.yaml does not "+
				"have the host", e.File),
				"add the host to the rule: "+add)
		}
		byFlag[flag] = append(byFlag[flag], r.ID)
	}
	var flags []string
	for _, flag := range []string{"--age", "--pgp"} {
		if ids := byFlag[flag]; len(ids) > 0 {
			flags = append(flags, flag, strings.Join(ids, ","))
		}
	}
	return flags, nil
}
