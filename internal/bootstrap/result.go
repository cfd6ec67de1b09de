package bootstrap

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
	"github.com/sops-initrd/sops-initrd/internal/sshkey"
)

func (r *Request) result(public sshkey.Public, recipients []sopsfile.Recipient) *Result {
	res := &Result{
		File: r.File, Recipients: recipients, PublicKey: public.String(), Fingerprint: public.SHA256(),
		KnownHosts: r.knownHosts() + " " + public.String(), Nix: r.nix(),
	}
	if r.LUKS != "" {
		res.Enroll = "cryptsetup luksAddKey DEVICE /run/secrets/" + luksSecret(r.LUKS)
	}
	return res
}

// knownHosts is the host as known_hosts has it: with the port in brackets unless it is the
// default one, see sshd(8).
func (r *Request) knownHosts() string {
	if r.Port == 22 {
		return r.Name
	}
	return "[" + strings.Trim(r.Name, "[]") + "]:" + strconv.Itoa(r.Port)
}

// nix is a module that uses the secrets. The key file is in /run/secrets as well, from where it
// is added to the device.
func (r *Request) nix() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	file := nixPath(r.File)
	line("{ config, ... }:")
	line("{")
	line("  sops.secrets.%s = {", SSHKey)
	line("    sopsFile = %s;", file)
	line("    initrd.only = true;")
	line("  };")
	line("  boot.initrd.network.enable = true;")
	line("  boot.initrd.network.ssh = {")
	line("    enable = true;")
	line("    port = %d;", r.Port)
	line("    hostKeys = [ config.sops.secrets.%s.path ];", SSHKey)
	line("  };")
	if r.LUKS != "" {
		secret := luksSecret(r.LUKS)
		line("")
		line("  sops.secrets.%s = {", secret)
		line("    sopsFile = %s;", file)
		line("    neededForInitrd = true;")
		line("  };")
		line("  boot.initrd.luks.devices.%s.keyFile = config.sops.secrets.%s.path;", r.LUKS, secret)
	}
	line("}")
	return b.String()
}

// nixPath writes a path as a Nix path, which may have only some characters; with others it
// needs the form with a string.
func nixPath(file string) string {
	file = filepath.Clean(file)
	base := "./"
	switch {
	case filepath.IsAbs(file):
		base, file = "/", file[1:]
	case file == "..", strings.HasPrefix(file, "../"):
		base, file = "../", file[3:]
	}
	plain := strings.IndexFunc(file, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.ContainsRune("._-+/", c))
	}) < 0
	if plain {
		return base + file
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", `\${`).Replace(file)
	return `(` + strings.TrimSuffix(base, "/") + `/. + "/` + quoted + `")`
}
