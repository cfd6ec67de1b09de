package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

// maxDataKeyBytes bounds what a data key may unpack to; sops's have 32 bytes, parts of a split one
// 33.
const maxDataKeyBytes = 4096

// Sealed is a data key (or a part of one) of a sops file, encrypted for one recipient.
type Sealed struct {
	// Type is "age" or "pgp".
	Type string
	// Recipient is the age recipient or the OpenPGP fingerprint.
	Recipient string
	// Data is an armored age file or OpenPGP message.
	Data []byte
}

// Memory opens a data key with the keys that need no program. It returns the source of the key that
// fitted. ErrNoMatch means that no key fits; other errors mean that the data key or a key that
// should fit is broken.
func (r *Ring) Memory(s Sealed) (dataKey []byte, source string, err error) {
	if s.Type == "pgp" {
		return r.openPGP(s)
	}
	return openAge(s, r.memory)
}

// Programs opens a data key with the help of programs: plugins of age, commands that print keys,
// gpg. Each is waited for no longer than the timeout of the ring.
func (r *Ring) Programs(ctx context.Context, s Sealed) (dataKey []byte, source string, err error) {
	r.programs.Lock()
	defer r.programs.Unlock()
	if s.Type == "pgp" {
		if r.gpg == nil {
			return nil, "", ErrNoMatch
		}
		return r.gpg.open(ctx, r, s)
	}
	dataKey, source, err = r.openWithPlugins(ctx, s, r.plugins)
	for _, c := range r.commands {
		if err == nil || ctx.Err() != nil {
			break
		}
		memory, plugins, cmdErr := c.keys(ctx, r, s.Recipient)
		if cmdErr != nil {
			r.skip(c.variable, cmdErr.Error())
			continue
		}
		var next error
		if dataKey, source, next = openAge(s, memory); next != nil {
			dataKey, source, next = r.openWithPlugins(ctx, s, plugins)
		}
		if next == nil || !errors.Is(next, ErrNoMatch) {
			err = next
		}
	}
	return dataKey, source, err
}

func openAge(s Sealed, keys []ageKey) ([]byte, string, error) {
	var broken error
	for _, k := range keys {
		data, err := decryptAge(s.Data, k.identity)
		if err == nil {
			return data, k.source, nil
		}
		if broken == nil && !errors.Is(err, ErrNoMatch) {
			broken = fmt.Errorf("%s: %w", k.source, err)
		}
	}
	if broken != nil {
		return nil, "", broken
	}
	// A stanza of age's own kind does not say for whom it is, so that a changed one looks like that
	// of another: the metadata of sops say it.
	for _, k := range keys {
		if slices.Contains(k.recipients, Canonical(s.Recipient)) {
			return nil, "", notOpened(k.source)
		}
	}
	return nil, "", ErrNoMatch
}

// notOpened is the error of a data key that a key does not open though it is encrypted for it.
func notOpened(source string) error {
	return fmt.Errorf("%w: the key that it is encrypted for, of %s, does not open it", ErrDamaged, source)
}

// openPGPName is an OpenPGP fingerprint.
var openPGPName = pattern.New(`^[0-9A-F]{40,64}$`)

// Canonical is how a sops file's name of a recipient is written in Identity: an SSH key without its
// comment, a fingerprint in capitals, without the mark that tells gpg to use just that key.
func Canonical(recipient string) string {
	if strings.HasPrefix(recipient, "ssh-") {
		if public, err := sshkey.ParsePublic(recipient); err == nil {
			return public.String()
		}
	}
	hex := strings.ToUpper(strings.TrimSuffix(strings.ReplaceAll(recipient, " ", ""), "!"))
	if openPGPName().MatchString(hex) {
		return hex
	}
	return recipient
}

// openWithPlugins asks plugins, those of the recipient's own type first: their identities often fit
// recipients that do not name them (a token that holds an SSH key).
func (r *Ring) openWithPlugins(ctx context.Context, s Sealed, keys []ageKey) ([]byte, string, error) {
	name, _, _ := plugin.ParseRecipient(s.Recipient)
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b ageKey) int {
		return boolOrder(a.identity.(*plugin.Identity).Name() == name) - boolOrder(b.identity.(*plugin.Identity).Name() == name)
	})
	broken := ErrNoMatch
	for _, k := range keys {
		name := k.identity.(*plugin.Identity).Name()
		data, err := limited(r, "age-plugin-"+name, func(left time.Duration) ([]byte, error) {
			ended := make(chan struct{})
			flooded := boundPlugin(ended)
			data, err := within(ctx, left, func() ([]byte, error) {
				defer close(ended)
				return decryptAge(s.Data, k.identity)
			})
			switch {
			case flooded.Load():
				err = fmt.Errorf("age-plugin-%s: it printed more than %d bytes", name, maxPluginBytes)
			case errors.Is(err, ErrNoAnswer), ctx.Err() != nil:
				endPlugin(name, ended)
				err = fmt.Errorf("age-plugin-%s: %w", name, err)
			}
			return data, err
		})
		if err == nil {
			return data, k.source, nil
		}
		if errors.Is(broken, ErrNoMatch) && !errors.Is(err, ErrNoMatch) {
			broken = fmt.Errorf("%s: %w", k.source, err)
		}
	}
	return nil, "", broken
}

// endPlugin ends a plugin that gives no answer, and waits until it is gone. Package age keeps its
// process to itself, so that it is looked for among the children of this process, again until it is
// found: it may be just starting. Where the kernel does not tell a process its children the plugin
// ends when this process does.
func endPlugin(name string, ended <-chan struct{}) {
	for deadline := time.Now().Add(pluginEndTimeout); time.Now().Before(deadline); {
		killChildren("age-plugin-" + name)
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// pluginEndTimeout is how long the end of a plugin that was killed is waited for: long enough for a
// busy machine to start it.
const pluginEndTimeout = 5 * time.Second

// maxPluginBytes bounds what a plugin prints: an answer has some hundred bytes, and package age
// keeps a line of any length.
const maxPluginBytes = 16 << 20

// boundPlugin ends a plugin that prints more than it may, and says so. Package age keeps the pipe
// to itself, so that what this process reads is looked at: programs are asked one at a time, and
// the files were read before. Where the kernel does not tell it the time alone bounds a plugin.
func boundPlugin(ended <-chan struct{}) *atomic.Bool {
	flooded := new(atomic.Bool)
	before, err := bytesRead()
	if err != nil {
		return flooded
	}
	others := children("self")
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if now, err := bytesRead(); err == nil && now-before > maxPluginBytes {
				flooded.Store(true)
				for _, child := range children("self") {
					if !slices.Contains(others, child) { // it need not have the plugin's name any more
						killTree(child)
					}
				}
				return
			}
		}
	}()
	return flooded
}

// bytesRead is how much this process has read so far.
func bytesRead() (int64, error) {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strconv.ParseInt(strings.TrimPrefix(line, "rchar: "), 10, 64)
}

// killChildren ends the children of this process that run the named plugin, scripts and what those
// become among them, with all that they have started.
func killChildren(name string) {
	for _, child := range children("self") {
		arguments, err := os.ReadFile("/proc/" + child + "/cmdline")
		isName := func(argument string) bool {
			return filepath.Base(argument) == name || argument == "--age-plugin=identity-v1"
		}
		if err == nil && slices.ContainsFunc(strings.Split(string(arguments), "\x00"), isName) {
			killTree(child)
		}
	}
}

// killTree ends a process and its descendants, the parents first: they start no more.
func killTree(process string) {
	pid, err := strconv.Atoi(process)
	if err != nil {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP) // it keeps its children until they were looked up
	below := children(process)
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	for _, child := range below {
		killTree(child)
	}
}

// children are the numbers of the processes that a process has started.
func children(process string) []string {
	lists, _ := filepath.Glob("/proc/" + process + "/task/*/children") // the pattern is well-formed
	var all []string
	for _, path := range lists {
		if list, err := os.ReadFile(path); err == nil {
			all = append(all, strings.Fields(string(list))...)
		}
	}
	return all
}

// boolOrder sorts what is true before what is false.
func boolOrder(b bool) int {
	if b {
		return 0
	}
	return 1
}

// decryptAge opens an armored age file. The errors of package age are replaced where they may quote
// what they read.
func decryptAge(data []byte, identity age.Identity) ([]byte, error) {
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), identity)
	var noMatch *age.NoIdentityMatchError
	var notFound *plugin.NotFoundError
	switch {
	case errors.As(err, &noMatch):
		return nil, ErrNoMatch
	case errors.As(err, &notFound):
		return nil, fmt.Errorf("age-plugin-%s is not in PATH", notFound.Name)
	case err != nil:
		if p, ok := identity.(*plugin.Identity); ok {
			return nil, fmt.Errorf("age-plugin-%s: %s", p.Name(), Quiet(strings.ReplaceAll(err.Error(), p.String(), "…")))
		}
		return nil, ErrDamaged
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxDataKeyBytes))
	if err != nil || len(plain) == maxDataKeyBytes {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Quiet makes one short printable line of what a program says.
func Quiet(text string) string {
	const maxRunes = 300
	text = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))), " ")
	if runes := []rune(text); len(runes) > maxRunes {
		text = string(runes[:maxRunes]) + "…"
	}
	return text
}
