package docs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nixEnvironment is what the set-up of a single user's Nix would leave in nix.conf, and where it
// finds nixpkgs.
var nixEnvironment = []string{
	"NIX_CONFIG=experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nsubstitute = false",
	"NIX_PATH=nixpkgs=" + stageDir + "/nixpkgs:/home/alice/.nix-defexpr/channels",
}

// installNix gives the administrator a real Nix, with an empty store, nixpkgs, and a GitHub that
// has this repository as it is in this directory.
func (s *stage) installNix(t *testing.T) {
	t.Helper()
	secondAddress(t)
	github := &github{repositories: map[string]*repository{}}
	tree := t.TempDir()
	nixpkgs(t, tree)
	github.add(t, "NixOS/nixpkgs", tree)
	github.add(t, "sops-initrd/sops-initrd", "..")
	certificate := github.serve(t)
	root := s.root("admin")
	for _, dir := range []string{"/nix", "/nix/store", "/nix/var", "/nix/var/nix"} {
		err := os.MkdirAll(root+dir, 0o755)
		if err := errors.Join(err, os.Chown(root+dir, 4000, 4000)); err != nil {
			t.Fatal(err)
		}
	}
	const certificates, hosts = "/etc/ssl/certs/ca-certificates.crt", "127.0.0.1 localhost github.com api.github.com\n"
	standin := root + stageDir + "/standins/nix"
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(root+certificates), 0o755), os.WriteFile(root+certificates, certificate, 0o644),
		os.WriteFile(root+"/etc/hosts", []byte(hosts), 0o644), os.CopyFS(root+stageDir+"/nixpkgs", os.DirFS(tree)),
		os.Remove(standin), os.Symlink("/usr/bin/nix", standin),
	); err != nil {
		t.Fatal(err)
	}
	env := append(environment("alice", "/home/alice", adminPath), nixEnvironment...)
	s.admin = s.shell(t, "admin", "--userspec=4000:4000", env)
}

// secondAddress gives the loopback interface an address beside 127.0.0.1, without which Nix takes
// the machine for one that has no network.
func secondAddress(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo:1")
	if err == nil {
		err = request.SetInet4Addr([]byte{192, 0, 2, 1})
	}
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request)
	}
	if err != nil {
		t.Fatalf("address of lo: %v", err)
	}
}

// nixpkgs makes what these pages need of nixpkgs: with NIXPKGS_LIB its library, and the stand-ins
// for NixOS. Without it NixOS is only looked up in the source that a configuration imports.
func nixpkgs(t *testing.T, dir string) {
	t.Helper()
	evaluate := `modules: let module = builtins.head (builtins.concatMap (m: if builtins.isAttrs m then m.imports else if m == ./none then [ ] else [ m ]) modules);
      text = builtins.readFile (module + "/../../nixos/secrets.nix");
    in assert builtins.pathExists (module + "/default.nix");
    { options.sops.secrets.description = builtins.head (builtins.match ".*(Secrets that are decrypted[^\n]*).*" text); }`
	if lib := os.Getenv("NIXPKGS_LIB"); lib != "" {
		for to, from := range map[string]string{"lib": lib, "stand-ins": "../nixos/tests/eval/stand-ins"} {
			if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile("../nixos/tests/eval/evaluate.nix")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "evaluate.nix"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		evaluate = `modules: (import ./evaluate.nix { lib = import ./lib; module = { }; }).evaluate { config.imports = modules; }`
	}
	files := map[string]string{
		"modules.nix":       evaluate,
		"flake.nix":         "{ outputs = { self }: { lib.nixosSystem = { modules, ... }: import ./modules.nix modules; }; }\n",
		"nixos/default.nix": "{ configuration }: import ../modules.nix [ (import configuration) ]\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// github serves what Nix and git ask GitHub for: the commit of a branch, archives of commits, and
// repositories over git's plain HTTP protocol.
type github struct{ repositories map[string]*repository }

type repository struct {
	revision, tree string
	archive        []byte
	files          fs.FS // of .git
}

// add publishes a directory as a repository with one commit.
func (g *github) add(t *testing.T, name, tree string) {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) []byte {
		cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "--git-dir=" + dir, "--work-tree=."}, args...)...)
		cmd.Env = append(os.Environ(),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x@example.org", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
			"GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x@example.org", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
		)
		cmd.Dir = tree
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, &stderr)
		}
		return out
	}
	git("init", "--quiet", "--initial-branch=main")
	git("add", "--all")
	git("commit", "--quiet", "--message", "everything")
	git("repack", "--quiet", "-a", "-d")
	git("update-server-info")
	revision := strings.TrimSpace(string(git("rev-parse", "HEAD")))
	g.repositories[name] = &repository{
		revision: revision,
		tree:     strings.TrimSpace(string(git("rev-parse", "HEAD^{tree}"))),
		archive:  git("archive", "--format=tar.gz", "--prefix="+filepath.Base(name)+"-"+revision+"/", "HEAD"),
		files:    os.DirFS(dir),
	}
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.Host == "api.github.com" && len(parts) > 0 && parts[0] == "repos" {
		parts = parts[1:]
	}
	if len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	repository := g.repositories[parts[0]+"/"+strings.TrimSuffix(parts[1], ".git")]
	if repository == nil {
		http.NotFound(w, r)
		return
	}
	switch parts[2] {
	case "commits":
		fmt.Fprintf(w, `{"sha": %q, "commit": {"tree": {"sha": %q}}}`, repository.revision, repository.tree)
	case "archive", "tarball":
		_, _ = w.Write(repository.archive)
	default:
		http.ServeFileFS(w, r, repository.files, strings.Join(parts[2:], "/"))
	}
}

// serve listens on the loopback interface until the test ends, and returns the certificate by which
// it is known.
func (g *github) serve(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"github.com", "api.github.com"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: g, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}
