package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// getentTimeout is how long getent may ask for an account: a server of accounts that is away must
// not hold up a boot.
const getentTimeout = 10 * time.Second

// accounts are the users or the groups of the machine. They are looked up in the file where
// NixOS, sysusers and userborn put them, and names that are not there with getent, which knows
// every other source that the machine has (LDAP, the user database of systemd). So the answer
// does not depend on how the program was built, as it does with package os/user.
type accounts struct {
	kind     string // for messages
	file     string
	database string // what getent calls it
	ids      map[string]uint32
	err      error
}

func (a *accounts) lookUp(ctx context.Context, name string) (uint32, error) {
	if a.ids == nil {
		data, err := os.ReadFile(a.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.err = err
		}
		a.ids = parseAccounts(string(data))
	}
	if id, ok := a.ids[name]; ok {
		return id, nil
	}
	if a.err != nil {
		return 0, fmt.Errorf("look up %s %q: %w", a.kind, name, a.err)
	}
	if strings.HasPrefix(name, "-") { // getent would take it for an option
		return 0, fmt.Errorf("unknown %s %q", a.kind, name)
	}
	ctx, cancel := context.WithTimeout(ctx, getentTimeout)
	defer cancel()
	getent := exec.CommandContext(ctx, getentProgram(), a.database, name)
	getent.WaitDelay = time.Second
	line, err := getent.Output()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("look up %s %q: getent: %w", a.kind, name, ctx.Err())
	}
	if id, ok := parseAccounts(string(line))[name]; ok && err == nil {
		return id, nil
	}
	return 0, fmt.Errorf("unknown %s %q", a.kind, name)
}

// getentProgram is getent, which the module's PATH for activations need not have.
func getentProgram() string {
	const ofSystem = "/run/current-system/sw/bin/getent"
	if _, err := exec.LookPath("getent"); err != nil && exists(ofSystem) {
		return ofSystem
	}
	return "getent"
}

// parseAccounts reads lines of passwd(5) or group(5). In both the number is the third field.
func parseAccounts(text string) map[string]uint32 {
	ids := make(map[string]uint32)
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 3 {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if _, ok := ids[fields[0]]; err == nil && !ok { // the first of a name counts, as in getpwnam(3)
			ids[fields[0]] = uint32(id)
		}
	}
	return ids
}

// idMap has the numbers of users or groups that exist in this container.
type idMap struct {
	kind, file string
	text       string
	read       bool
}

// has says why no file can belong to a number.
func (m *idMap) has(id uint32) error {
	if !m.read {
		data, _ := os.ReadFile(m.file) // without /proc nothing is known
		m.text, m.read = string(data), true
	}
	if m.text == "" || isMapped(m.text, id) {
		return nil
	}
	return fmt.Errorf("%s %d does not exist in this container (%s)", m.kind, id, m.file)
}

// isMapped looks for a number in the first two of the columns "inside, outside, how many"
// (user_namespaces(7)).
func isMapped(text string, id uint32) bool {
	for line := range strings.Lines(text) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return true
		}
		if uint64(id) >= inside && uint64(id) < inside+count {
			return true
		}
	}
	return false
}
