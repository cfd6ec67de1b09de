package keyring

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gpg opens data keys with the keys of a GnuPG home, through the gpg program: they may be on a
// card, or in an agent that asks for a passphrase.
type gpg struct {
	binary  string
	home    string // empty: gpg's own default
	timeout time.Duration

	listed    bool // keys was filled
	listFault error
	keys      map[string]bool // IDs of 16 digits and fingerprints of the secret keys, with subkeys
	started   bool            // there was no agent before: the one that runs now is ours
}

// maxListBytes bounds what gpg prints about its keys: a thousand keys with their subkeys.
const maxListBytes = 1 << 20

// newGPG is nil where no home may be used: below $HOME nothing is looked at unless the user asks
// for it.
func newGPG(c Config, r *Ring) *gpg {
	g := &gpg{binary: "gpg", home: c.Keys.GnuPGHome, timeout: c.Timeout}
	if g.home == "" {
		g.home = c.Getenv(envGPGHome)
	}
	binary := c.Getenv(envGPG)
	if binary != "" {
		g.binary = binary
	}
	if g.home == "" && binary == "" && !c.UserMode {
		return nil
	}
	if info, err := os.Stat(g.home); g.home != "" && (err != nil || !info.IsDir()) {
		r.skipAs(Skipped{Source: g.home, Reason: "no such directory", Absent: errors.Is(err, fs.ErrNotExist)})
		return nil
	}
	return g
}

func (g *gpg) name() string {
	if g.home != "" {
		return g.home
	}
	return g.binary
}

func (g *gpg) args(args ...string) []string {
	all := []string{"--batch", "--no-tty"}
	if g.home != "" {
		all = append(all, "--homedir", g.home)
	}
	return append(all, args...)
}

// open runs gpg for a message that may be for one of its keys.
func (g *gpg) open(ctx context.Context, r *Ring, s Sealed) ([]byte, string, error) {
	if !g.listed {
		g.listed = true
		g.list(ctx, r)
	}
	if g.listFault != nil {
		return nil, "", g.listFault
	}
	readable, fits := g.mayOpen(s.Data)
	if g.keys != nil && readable && !fits {
		if g.keys[Canonical(s.Recipient)] {
			return nil, "", notOpened(g.name())
		}
		return nil, "", ErrNoMatch
	}
	plain, err := g.run(ctx, r, program{
		Args: g.args("--status-fd", "2", "--decrypt"), Stdin: s.Data, MaxOutput: maxDataKeyBytes,
	})
	var failed *gpgError
	switch {
	case errors.As(err, &failed) && (!readable || failed.damaged):
		return nil, "", fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, "", err
	case len(plain) == 0:
		// gpg of old versions drops packets of a kind that it does not know, and is content.
		return nil, "", fmt.Errorf("%s decrypted it to nothing (is it too old for the message?)", g.binary)
	}
	return plain, g.name(), nil
}

// run runs gpg. The error has what gpg complained about.
func (g *gpg) run(ctx context.Context, r *Ring, p program) ([]byte, error) {
	p.Path = g.binary
	return limited(ctx, r, g.name(), func(left time.Duration) ([]byte, error) {
		output, complaints, err := run(ctx, left, p)
		if err != nil && !errors.Is(err, ErrNoAnswer) {
			err = newGPGError(err, complaints)
		}
		return output, err
	})
}

// gpgError is what gpg failed with.
type gpgError struct {
	error
	damaged bool // it has the key, and is not content with the message
}

func (e *gpgError) Unwrap() error { return e.error }

// badMessage are the numbers, of libgpg-error, of what a secret key says to a session key that was
// changed: GPG_ERR_CHECKSUM, GPG_ERR_WRONG_SECKEY, GPG_ERR_BAD_MPI, GPG_ERR_INV_DATA and
// GPG_ERR_BAD_DATA. A card that is not there or a passphrase that nobody types have others.
var badMessage = []uint64{10, 18, 30, 79, 89}

// newGPGError takes the lines for programs (gnupg's doc/DETAILS) out of what gpg complained about.
func newGPGError(err error, complaints []byte) error {
	e := &gpgError{}
	var forPeople []string
	for _, line := range strings.Split(string(complaints), "\n") {
		status, ok := strings.CutPrefix(line, "[GNUPG:] ")
		if !ok {
			forPeople = append(forPeople, line)
			continue
		}
		fields := strings.Fields(status)
		switch {
		case len(fields) > 0 && fields[0] == "DECRYPTION_KEY": // it opened the session key
			e.damaged = true
		case len(fields) > 2 && fields[0] == "ERROR" && fields[1] == "pkdecrypt_failed":
			number, _ := strconv.ParseUint(fields[2], 10, 64) // 0 is no error
			e.damaged = e.damaged || slices.Contains(badMessage, number&0xffff)
		}
	}
	e.error = fmt.Errorf("%w%s", err, said([]byte(strings.Join(forPeople, "\n"))))
	return e
}

// list asks gpg for its secret keys, so that it is not started for messages that are for others.
func (g *gpg) list(ctx context.Context, r *Ring) {
	g.started = !g.agentRuns(ctx)
	output, err := g.run(ctx, r, program{Args: g.args("--with-colons", "--list-secret-keys"), MaxOutput: maxListBytes})
	if err != nil {
		var missing *exec.Error
		if errors.As(err, &missing) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, ErrNoAnswer) {
			g.listFault = err
			r.skip(g.name(), g.listFault.Error())
		}
		return // a wrapper may know how to decrypt, but not how to list
	}
	g.keys = make(map[string]bool)
	var fingerprints []string
	// The format is that of gnupg's doc/DETAILS: "sec" and "ssb" are keys, "fpr" is the fingerprint of
	// the one before it.
	for _, line := range strings.Split(string(output), "\n") {
		fields := strings.Split(line, ":")
		switch {
		case len(fields) > 4 && (fields[0] == "sec" || fields[0] == "ssb"):
			g.keys[strings.ToUpper(fields[4])] = true
		case len(fields) > 9 && fields[0] == "fpr":
			fingerprints = append(fingerprints, strings.ToUpper(fields[9]))
			g.keys[strings.ToUpper(fields[9])] = true
		}
	}
	if len(fingerprints) == 0 {
		r.skip(g.name(), "there is no secret key in it")
		return
	}
	r.found(Identity{g.name(), "pgp", fingerprints})
}

// mayOpen says whether a message says for whom it is, and whether it names one of the keys or hides
// whom it is for. What is wrong with one that is not readable is for gpg to say.
func (g *gpg) mayOpen(message []byte) (readable, fits bool) {
	block, err := armor.Decode(bytes.NewReader(message))
	if err != nil {
		return false, false
	}
	packets := packet.NewReader(block.Body)
	for {
		p, err := packets.Next()
		key, ok := p.(*packet.EncryptedKey)
		if err != nil || !ok {
			return readable, false
		}
		readable = true
		var id [8]byte
		for i := range id {
			id[i] = byte(key.KeyId >> (8 * (7 - i)))
		}
		if key.KeyId == 0 || g.keys[strings.ToUpper(hex.EncodeToString(id[:]))] {
			return true, true
		}
	}
}

// agentRuns says whether an agent was there before gpg starts one.
func (g *gpg) agentRuns(ctx context.Context) bool {
	if g.home == "" {
		return true // the user's own agent is nobody else's business
	}
	output, _, err := run(ctx, g.timeout, program{
		Path: "gpgconf", Args: []string{"--homedir", g.home, "--list-dirs", "agent-socket"}, MaxOutput: maxListBytes,
	})
	if err != nil {
		return true // it could not be ended either
	}
	socket, err := url.PathUnescape(strings.TrimSpace(string(output))) // gpgconf escapes as URLs do
	if err != nil {
		return true
	}
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = connection.Close() // nothing was said
	return true
}

// close ends the agent and its helpers when they were started for us.
func (g *gpg) close() error {
	if !g.started {
		return nil
	}
	g.started = false
	_, complaints, err := run(context.Background(), g.timeout, program{
		Path: "gpgconf", Args: []string{"--homedir", g.home, "--kill", "all"}, MaxOutput: maxListBytes,
	})
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("end the agent of %s: %w%s", g.home, err, said(complaints))
	}
	return nil
}

// said is what a program complained about, to be put behind an error.
func said(complaints []byte) string {
	if text := Quiet(string(complaints)); text != "" {
		return ": " + text
	}
	return ""
}
