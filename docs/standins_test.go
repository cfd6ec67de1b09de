package docs

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
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

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// standins are the programs that cannot be had on the stage. Each does, with the real programs of this repository, what the
// real one would have them do.
var standins = map[string]func(args []string) error{
	"nixos-rebuild":                  nixosRebuild,
	"stage-switch":                   stageSwitch,
	"stage-editor":                   stageEditor,
	"stage-pe":                       stagePE,
	"nix":                            nix,
	"nix-shell":                      nixShell,
	"reboot":                         reboot,
	"age":                            ageProgram,
	"wg":                             wg,
	"systemctl":                      systemctl,
	"systemd-tty-ask-password-agent": askPassword,
	"niv":                            niv,
	"npins":                          npins,
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
		case "switch":
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
	command := []string{"stage-switch"}
	if target != "" {
		command = []string{"ssh", target, "stage-switch"}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(data)), os.Stdout, os.Stderr
	return cmd.Run()
}

// stageSwitch switches to the generation on standard input, or back to the last but one.
func stageSwitch([]string) error {
	var g generation
	err := json.NewDecoder(os.Stdin).Decode(&g)
	if err == nil {
		return g.switchTo()
	}
	numbers, err := generations("")
	if err != nil || len(numbers) < 2 {
		return fmt.Errorf("no generation to go back to: %w", err)
	}
	if err := g.load("", numbers[len(numbers)-2]); err != nil {
		return err
	}
	return g.switchTo()
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

// provided are the programs of packages.
var provided = map[string][]string{
	"github:sops-initrd/sops-initrd": {"sops-initrd", "sops-install-secrets", "ssh-to-age", "ssh-to-pgp", "sops-init-gpg-key"},
	"nixpkgs#sops":                   {"sops"},
	"nixpkgs#age":                    {"age", "age-keygen"},
	"nixpkgs#nixos-rebuild-ng":       {"nixos-rebuild"},
}

// enter makes the programs of a package be found.
func enter(installable string) error {
	programs, ok := provided[installable]
	if !ok {
		return fmt.Errorf("nix of the stage does not know %q", installable)
	}
	if err := os.MkdirAll(shellDir, 0o755); err != nil {
		return err
	}
	for _, program := range programs {
		if err := os.Symlink(stageDir+"/bin/"+program, filepath.Join(shellDir, program)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// nix has everything already: it starts what it is asked to start.
func nix(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "shell":
			for i, a := range args[1:] {
				if a == "--command" || a == "-c" {
					return replace(args[i+2:])
				}
				if err := enter(a); err != nil {
					return err
				}
			}
			return nil
		case "run":
			flake, program, _ := strings.Cut(args[1], "#")
			if program == "" {
				program = filepath.Base(flake) // what its default is named
			}
			if i := slices.Index(args, "--"); i > 0 {
				return replace(append([]string{program}, args[i+1:]...))
			}
			return replace([]string{program})
		case "flake":
			return nil
		}
	}
	return fmt.Errorf("nix of the stage does not know %q", args)
}

// nixShell runs a command with packages, all of which are there.
func nixShell(args []string) error {
	i := slices.Index(args, "--run")
	if i < 0 || i+1 >= len(args) || !slices.Contains(args, "-p") {
		return fmt.Errorf("nix-shell of the stage does not know %q", args)
	}
	return replace([]string{"bash", "-c", args[i+1]})
}

// ageProgram encrypts standard input to SSH keys and decrypts files with them, with age's own library.
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

// wg knows genkey and pubkey.
func wg(args []string) error {
	if len(args) == 1 && args[0] == "genkey" {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err == nil {
			fmt.Fprintln(os.Stdout, base64.StdEncoding.EncodeToString(key.Bytes()))
		}
		return err
	}
	var text string
	if _, err := fmt.Fscan(os.Stdin, &text); err != nil || len(args) != 1 || args[0] != "pubkey" {
		return fmt.Errorf("wg of the stage does not know %q: %w", args, err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	key, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()))
	return nil
}

// rebootMarker is there between the order to reboot and the reboot.
const rebootMarker = stageDir + "/state/reboot"

func reboot([]string) error { return os.WriteFile(rebootMarker, nil, 0o600) }

func systemctl(args []string) error {
	if len(args) > 0 && args[0] == "reboot" {
		return reboot(nil)
	}
	return nil
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
