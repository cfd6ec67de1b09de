package docs

import (
	"regexp"
	"strings"
	"testing"
)

// harmful are commands that cost a reader something that cannot be had back, or that open a door.
// Preparations of a test may have them, in blocks that are hidden from the reader.
var harmful = map[string]*regexp.Regexp{
	"deletes files that were never committed": regexp.MustCompile(
		`git rm\b.*(?: -\w*f| --force)|git clean\b|git reset\b.*--hard|git checkout\b|git restore\b`),
	"deletes directories":              regexp.MustCompile(`\brm\b.* (?:-\w*[rR]|--recursive)`),
	"moves or deletes the age key":     regexp.MustCompile(`\b(?:mv|rm|shred)\b.*(?:keys\.txt|sops/age)`),
	"opens the boot partition":         regexp.MustCompile(`sed\b.*umask|umask=00[0-6]|chmod\b.*/boot`),
	"writes to the boot partition":     regexp.MustCompile(`(?:\b(?:cp|mv|rm|dd|sed -i|tee|install|truncate|shred)\b|>)[^|;&]*/boot/`),
	"overwrites a disk":                regexp.MustCompile(`\b(?:mkfs\S*|dd|wipefs|luksFormat|luksErase|luksKillSlot|luksRemoveKey|parted|sgdisk)\b`),
	"deletes the records of installed": regexp.MustCompile(`\brm\b.*/nix/`),
	"passes a secret as an argument":   regexp.MustCompile(`(?:--value|-p|--passphrase)[ =]"?\$\(`),
	"trusts any host key":              regexp.MustCompile(`StrictHostKeyChecking[= ](?:no|off)|UserKnownHostsFile[= ]/dev/null`),
}

// TestNoHarm looks through all commands that a reader sees for such things.
func TestNoHarm(t *testing.T) {
	t.Parallel()
	for _, page := range append(pages(t), "../README.md") {
		for _, b := range blocks(t, page) {
			if b.hidden {
				continue
			}
			var lines []string
			switch b.lang {
			case "console":
				for _, c := range b.commands(t) {
					lines = append(lines, c.text)
				}
			case "sh", "bash":
				lines = strings.Split(b.text, "\n")
			}
			for _, line := range lines {
				for what, pattern := range harmful {
					if pattern.MatchString(line) {
						t.Errorf("%s: %q %s", b, line, what)
					}
				}
			}
		}
	}
}

// TestNoHarm_known shows that the patterns find what the pages once told readers to do.
func TestNoHarm_known(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"git rm --quiet -r --force secrets modules/initrd-unlock.nix",
		"git rm -r -f secrets",
		"mv ~/.config/sops/age/keys.txt ~/no-key-here",
		"sed -i '/umask=0077/d' hardware-configuration.nix",
		"cp -L /nix/store/*-server01-3/initrd /boot/EFI/nixos/x-initrd.efi",
		"git checkout --quiet hardware-configuration.nix",
		"rm -rf new",
		"ssh root@server01 'dd if=/dev/zero of=/dev/vda2'",
	} {
		found := false
		for _, pattern := range harmful {
			found = found || pattern.MatchString(command)
		}
		if !found {
			t.Errorf("nothing is found wrong with %q", command)
		}
	}
}

// privateKey is the beginning of an age identity or of a private key in PEM. sops encrypts it.
const privateKey = `AGE-SECRET-KEY-1|PRIVATE KEY-----|PRIVATE KEY BLOCK-----`

// noKeyInRepository makes sure that no private key lies where "git add ." would take it.
func (s *stage) noKeyInRepository(t *testing.T, b *block, c *command) {
	t.Helper()
	if b.hidden {
		return
	}
	const find = `[ ! -d ~/infra ] || ! grep -rlE --exclude-dir .git -e '` + privateKey + `' ~/infra`
	if out, status := s.admin.run(t, find, ""); status != 0 {
		t.Fatalf("%s: after %q a private key lies in the repository:\n%s", b, c.text, out)
	}
}

// unharmed makes sure that a page left the reader's machines in order: the age key is where it
// was, everything that matters is committed, and whatever the server can boot has its secrets.
func (s *stage) unharmed(t *testing.T) {
	t.Helper()
	const admin = `test -s ~/.config/sops/age/keys.txt && cd ~/infra && git status --porcelain`
	if out, status := s.admin.run(t, admin, ""); status != 0 || out != "" {
		t.Errorf("exit status %d; not committed:\n%s", status, out)
	}
	const server = `[ ! -e /run/current-system/sw/bin/sops-initrd ] || sops-initrd status`
	if out, status := s.server.run(t, server, ""); status != 0 {
		t.Errorf("sops-initrd status: exit status %d\n%s", status, out)
	}
}
