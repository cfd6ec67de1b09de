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

	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Variable names the sops program to ask; without it "sops" is looked up in PATH.
const Variable = "SOPS_INITRD_SOPS"

// startTimeout bounds the time from starting the sops program to its first answer.
const startTimeout = 20 * time.Second

// Client decrypts data keys. It is a key service of sops.
type Client interface {
	keyservice.KeyServiceClient
	// Close ends what the client has started. It may be called more than once.
	Close() error
}

// Program is a Client that asks the sops program. It starts it with the first request. It is safe for concurrent use.
type Program struct {
	getenv func(string) string

	mu         sync.Mutex
	started    bool
	startErr   error
	command    *exec.Cmd
	exited     chan struct{}
	output     bytes.Buffer
	directory  string
	connection *grpc.ClientConn
}

// NewProgram returns a Program; nothing is started yet.
func NewProgram(getenv func(string) string) *Program {
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	return &Program{getenv: getenv}
}

// Decrypt asks sops for the data key. ctx ends the waiting.
func (p *Program) Decrypt(ctx context.Context, req *keyservice.DecryptRequest, opts ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return keyservice.NewKeyServiceClient(p.connection).Decrypt(ctx, req, opts...)
}

// Encrypt always fails: nothing here encrypts with remote keys.
func (p *Program) Encrypt(context.Context, *keyservice.EncryptRequest, ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	return nil, errors.New("encrypt with a remote key: not supported")
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
	socket := filepath.Join(p.directory, "socket")
	p.command = exec.Command(program, "keyservice", "--network", "unix", "--address", socket)
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
	if err := p.await(ctx, socket); err != nil {
		return err
	}
	p.connection, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to sops keyservice: %w", err)
	}
	return nil
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
	if p.connection != nil {
		errs = append(errs, p.connection.Close())
		p.connection = nil
	}
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
