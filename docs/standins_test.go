package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/sops-initrd/sops-initrd/vmtests/vm"
)

// standins are the programs that cannot be had on the stage. Each does, with the real programs of
// this repository, what the real one would have them do.
var standins = map[string]func(args []string) error{
	"nixos-rebuild":                  nixosRebuild,
	"stage-switch":                   stageSwitch,
	"stage-editor":                   stageEditor,
	"nix":                            nix,
	"nix-collect-garbage":            collectGarbage,
	"reboot":                         reboot,
	"age":                            ageProgram,
	"systemctl":                      systemctl,
	"systemd-tty-ask-password-agent": askPassword,
}

func runStandin(name string, args []string) int {
	err := standins[name](args)
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // one with words of its own is printed
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// nixosRebuild knows switch and boot, for a flake or /etc/nixos, here or on another machine.
func nixosRebuild(args []string) error {
	flake, target, rollback, action := "", "", false, ""
	for i := 0; i < len(args); i++ {
		switch a := args[i]; a {
		case "switch", "boot":
			action = a
		case "--flake", "--target-host":
			i++
			if i == len(args) {
				return fmt.Errorf("%s: argument missing", a)
			}
			if a == "--flake" {
				flake = args[i]
			} else {
				target = args[i]
			}
		case "--rollback":
			rollback = true
		case "--sudo", "--use-remote-sudo":
		default:
			return fmt.Errorf("nixos-rebuild of the stage does not know %q", a)
		}
	}
	if action == "" {
		return errors.New("nixos-rebuild: no action")
	}
	var data []byte
	if !rollback {
		directory, host, _ := strings.Cut(flake, "#")
		if flake == "" {
			directory, host = "/etc/nixos", "server01"
		}
		directory, err := filepath.Abs(directory)
		if err != nil {
			return err
		}
		g, err := evaluate(directory, host)
		if err != nil {
			return err
		}
		if data, err = json.Marshal(g); err != nil {
			return err
		}
	}
	command := []string{stageDir + "/bin/stage-switch"}
	if target != "" {
		command = []string{"ssh", target, command[0]}
	}
	cmd := exec.Command(command[0], append(command[1:], action)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(data)), os.Stdout, os.Stderr
	return cmd.Run()
}

// stageSwitch switches to the generation on standard input, or back to the last but one.
func stageSwitch(args []string) error {
	var g generation
	err := json.NewDecoder(os.Stdin).Decode(&g)
	if err == nil {
		return g.switchTo(args[0])
	}
	numbers, err := generations("")
	if err != nil || len(numbers) < 2 {
		return fmt.Errorf("no generation to go back to: %w", err)
	}
	if err := g.load("", numbers[len(numbers)-2]); err != nil {
		return err
	}
	return g.switchTo(args[0])
}

// stageEditor types what the page shows into the file.
func stageEditor(args []string) error {
	text, err := os.ReadFile(stageDir + "/state/edit")
	if err != nil {
		return err
	}
	return os.WriteFile(args[len(args)-1], text, 0o600)
}

// replace runs a program in the place of this one.
func replace(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// shellDir has the programs of the shell that nix has opened.
const shellDir = stageDir + "/state/shell"

var ourPrograms = []string{"sops-initrd", "sops-install-secrets", "ssh-to-age", "ssh-to-pgp", "sops-init-gpg-key"}

// provided are the programs of packages.
var provided = map[string][]string{
	"github:sops-initrd/sops-initrd": ourPrograms,
	"nixpkgs#sops":                   {"sops"},
	"nixpkgs#age":                    {"age", "age-keygen"},
	"nixpkgs#nixos-rebuild-ng":       {"nixos-rebuild"},
	"nixpkgs#gnupg":                  {"gpg", "gpgconf", "gpg-agent", "gpg-connect-agent"},
	"nixpkgs#wireguard-tools":        {"wg"},
	"nixpkgs#dropbear":               {"dropbearconvert"},
}

// nix has everything already. "nix shell" makes the programs of packages be found, "nix run"
// starts one.
func nix(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "shell":
		if err := os.MkdirAll(shellDir, 0o755); err != nil {
			return err
		}
		for _, installable := range args[1:] {
			for _, program := range provided[installable] {
				path, err := lookup(program)
				if err == nil {
					err = os.Symlink(path, filepath.Join(shellDir, program))
				}
				if err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
			if provided[installable] == nil {
				return fmt.Errorf("nix of the stage does not know %q", installable)
			}
		}
		return nil
	case len(args) > 2 && args[0] == "run" && args[2] == "--":
		flake, program, _ := strings.Cut(args[1], "#")
		if !slices.Contains(append(provided[flake], provided[args[1]]...), program) {
			break
		}
		return replace(append([]string{stageDir + "/bin/" + program}, args[3:]...))
	}
	return fmt.Errorf("nix of the stage does not know %q", args)
}

// lookup finds a program: of the stage, or of this system.
func lookup(program string) (string, error) {
	path := stageDir + "/bin/" + program
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/" + program); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/bin/" + program)
}

// wireguardTool finds wg, which scripts/setup unpacks for guests of virtual machines.
func wireguardTool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("wg"); err == nil {
		return path
	}
	cache, err := vm.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "guest/usr/bin/wg")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no wg: %v: run scripts/setup", err)
	}
	return path
}

// ageProgram encrypts standard input to SSH keys and decrypts files with them, with age's own
// library.
func ageProgram(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "--encrypt" && args[1] == "--recipients-file":
		line, err := os.ReadFile(args[2])
		if err != nil {
			return err
		}
		recipient, err := agessh.ParseRecipient(strings.TrimSpace(string(line)))
		if err != nil {
			return err
		}
		w, err := age.Encrypt(os.Stdout, recipient)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, os.Stdin)
		return errors.Join(err, w.Close())
	case len(args) == 4 && args[0] == "--decrypt" && args[1] == "--identity":
		key, err := os.ReadFile(args[2])
		if err != nil {
			return err
		}
		identity, err := agessh.ParseIdentity(key)
		if err != nil {
			return err
		}
		f, err := os.Open(args[3])
		if err != nil {
			return err
		}
		defer f.Close()
		r, err := age.Decrypt(f, identity)
		if err == nil {
			_, err = io.Copy(os.Stdout, r)
		}
		return err
	}
	return fmt.Errorf("age of the stage does not know %q", args)
}

// rebootMarker is there between the order to reboot and the reboot.
const rebootMarker = stageDir + "/state/reboot"

func reboot([]string) error { return os.WriteFile(rebootMarker, nil, 0o600) }

// restartMarker is there once the SSH server is to be started again.
const restartMarker = stageDir + "/state/restart"

func systemctl(args []string) error {
	if slices.Equal(args, []string{"restart", "sshd"}) {
		return os.WriteFile(restartMarker, nil, 0o600)
	}
	return fmt.Errorf("systemctl of the stage does not know %q", args)
}

// unlockedMarker is there once the disk was opened in the initrd.
const unlockedMarker = stageDir + "/state/unlocked"

// askPassword is what one types into in the initrd.
func askPassword([]string) error {
	if os.Getenv("STAGE_INITRD") == "" {
		return errors.New("nobody asks for a password")
	}
	cmd := exec.Command("cryptsetup", "open", "--test-passphrase", "/dev/vda2")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.WriteFile(unlockedMarker, nil, 0o600)
}
