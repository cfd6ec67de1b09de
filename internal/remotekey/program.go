package remotekey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/getsops/sops/v3/keys"
)

// Variable names the sops program to ask; without it "sops" is looked up in PATH.
const Variable = "SOPS_INITRD_SOPS"

// startTimeout bounds the time from starting the sops program to its first answer.
const startTimeout = 20 * time.Second

// Client decrypts data keys.
type Client interface {
	// Decrypt decrypts the data key that is encrypted for a master key. ctx ends the waiting.
	Decrypt(ctx context.Context, key keys.MasterKey) ([]byte, error)
	// Close ends what the client has started. It may be called more than once.
	Close() error
}

// Program is a Client that asks the sops program. It starts it with the first request. It is safe for concurrent use.
type Program struct {
	getenv func(string) string

	mu        sync.Mutex
	started   bool
	startErr  error
	command   *exec.Cmd
	exited    chan struct{}
	output    bytes.Buffer
	directory string
	socket    string
}

// NewProgram returns a Program; nothing is started yet.
func NewProgram(getenv func(string) string) *Program {
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	return &Program{getenv: getenv}
}

// Decrypt asks sops for the data key.
func (p *Program) Decrypt(ctx context.Context, key keys.MasterKey) ([]byte, error) {
	request, err := decryptRequest(key)
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, fmt.Errorf("connect to sops keyservice: %w", err)
	}
	defer connection.Close()
	answer, err := call(ctx, connection, "/KeyService/Decrypt", request)
	if err != nil {
		return nil, err
	}
	return answer.plaintext()
}

func (p *Program) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		p.started = true
		p.startErr = p.run(ctx)
	}
	return p.startErr
}

// find finds the sops program.
func find(getenv func(string) string) (string, error) {
	name := getenv(Variable)
	if name == "" {
		name = "sops"
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("this program was built without cloud keys and asks sops for them, but %q cannot be run: put sops into PATH, "+
			"set %s to its path, or use the full build", name, Variable)
	}
	return program, nil
}

func (p *Program) run(ctx context.Context) error {
	program, err := find(p.getenv)
	if err != nil {
		return err
	}
	// The socket's directory is readable by nobody else: whoever reaches it could use this host's credentials.
	if p.directory, err = os.MkdirTemp("", "sops-keyservice-"); err != nil {
		return fmt.Errorf("start sops keyservice: %w", err)
	}
	p.socket = filepath.Join(p.directory, "socket")
	p.command = exec.Command(program, "keyservice", "--network", "unix", "--address", p.socket)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlives this process
	if err := p.command.Start(); err != nil {
		p.command = nil
		return fmt.Errorf("start sops keyservice: %w", err)
	}
	p.exited = make(chan struct{})
	go func() {
		_ = p.command.Wait() // how it ended is told by what it printed
		close(p.exited)
	}()
	return p.await(ctx, p.socket)
}

// await returns when something listens on the socket.
func (p *Program) await(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("sops keyservice ended at once: %s", strings.TrimSpace(p.output.String()))
		case <-ctx.Done():
			return fmt.Errorf("sops keyservice does not answer: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Close ends the sops program, if it was started, and removes its socket.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	if p.command != nil {
		if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("end sops keyservice: %w", err))
		}
		<-p.exited
		p.command = nil
	}
	if p.directory != "" {
		errs = append(errs, os.RemoveAll(p.directory))
		p.directory = ""
	}
	p.started, p.startErr = true, errors.New("the client is closed")
	return errors.Join(errs...)
}
