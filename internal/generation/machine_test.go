package generation

import (
	"fmt"
	"os"
	"sync"
)

// fake is a Machine without privileges: the secrets file system is an ordinary directory, owners
// are written down.
type fake struct {
	mu     sync.Mutex
	steps  []string
	failAt int   // number of the step that fails, from 1; 0: none
	err    error // what it fails with
	stop   func()
	owners map[string]string
}

func (*fake) Mount(string, bool, func(*os.Root) error) error { return nil }

func (m *fake) Chown(f *os.File, uid, gid uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners == nil {
		m.owners = make(map[string]string)
	}
	m.owners[f.Name()] = fmt.Sprintf("%d:%d", uid, gid)
	return nil
}

func (m *fake) Step(op, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps = append(m.steps, op+" "+path)
	if m.failAt == 0 || len(m.steps) != m.failAt {
		return nil
	}
	if m.stop != nil {
		m.stop()
	}
	return m.err
}
