package lockout

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// Danger is one way in that stage 1 would not have.
type Danger struct {
	What string // what is wrong, where, and what stage 1 would do
	Do   string // what mends it
}

// Dangers tries what stage 1 will do. The files are those that it finds, by their paths there;
// a path that is not among them comes from elsewhere and is not judged. Each run of a program is
// bounded by timeout; after a signal the answer is the cause of the context's end.
func Dangers(ctx context.Context, s *manifest.StageOne, files map[string][]byte,
	timeout time.Duration,
) ([]Danger, error) {
	var all []Danger
	for _, name := range s.WireGuardKeys {
		if data, ok := files[name]; ok && !isWireGuardKey(data) {
			all = append(all, Danger{
				What: name + ": not a WireGuard key, which is 32 bytes in base64; stage 1 would have no " +
					"tunnel",
				Do: "put the output of `wg genkey` there, nothing else",
			})
		}
	}
	if s.AuthorizedKeys != nil && !mayLogIn(s.AuthorizedKeys) {
		all = append(all, Danger{
			What: "sshd of stage 1: no line of its authorized keys is a public key; nobody could log in",
			Do:   "set boot.initrd.network.ssh.authorizedKeys to public keys (ssh-ed25519 AAAA…)",
		})
	}
	for _, d := range s.LUKS {
		key, ok := files[d.KeyFile]
		if !ok {
			continue
		}
		refused := refuses(ctx, s.Cryptsetup, d, key, timeout)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if refused {
			all = append(all, Danger{
				What: fmt.Sprintf("LUKS device %s (%s): %s opens none of its key slots; stage 1 would "+
					"wait for a passphrase", d.Device, d.Name, d.KeyFile),
				Do: "add the key to a slot (cryptsetup luksAddKey " + d.Device +
					"), or take the secret that has the old one; a line feed at its end counts",
			})
		}
	}
	return all, nil
}

// isWireGuardKey follows systemd (parse_wireguard_key, unbase64mem), which skips white space.
func isWireGuardKey(data []byte) bool {
	const keyBytes = 32
	text := strings.Join(strings.Fields(string(data)), "")
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return err == nil && len(key) == keyBytes
}

// mayLogIn says whether sshd finds a key in one of the texts, each of which may have many lines.
func mayLogIn(texts []string) bool {
	for _, text := range texts {
		for line := range strings.Lines(text) {
			if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
				return true
			}
		}
	}
	return false
}

// noKeyFits is cryptsetup's exit status for a key that opens no slot (cryptsetup(8), "wrong
// passphrase").
const noKeyFits = 2

// refuses says whether cryptsetup tried the key and no slot of the device took it. A device that is
// not there, that is not LUKS, or that could not be asked, is no reason for an alarm.
func refuses(ctx context.Context, program string, d manifest.LUKSDevice, key []byte,
	timeout time.Duration,
) bool {
	for _, name := range []string{d.Device, d.Header} {
		if _, err := os.Stat(name); name != "" && err != nil {
			return false
		}
	}
	if len(key) == 0 { // cryptsetup takes that for wrong use
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	args := []string{"open", "--test-passphrase", "--type=luks", "--batch-mode", "--key-file=-"}
	if d.Size > 0 {
		args = append(args, "--keyfile-size="+strconv.FormatInt(d.Size, 10))
	}
	if d.Offset > 0 {
		args = append(args, "--keyfile-offset="+strconv.FormatInt(d.Offset, 10))
	}
	if d.Header != "" {
		args = append(args, "--header="+d.Header)
	}
	c := exec.CommandContext(ctx, program, append(args, "--", d.Device)...)
	c.Stdin = bytes.NewReader(key)
	c.Env = []string{} // ours may have keys of sops in it
	c.WaitDelay = time.Second
	err := c.Run()
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == noKeyFits
}
