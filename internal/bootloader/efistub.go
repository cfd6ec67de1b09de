package bootloader

import (
	"path"
	"strings"
)

// efiStub is the kernel's own EFI loader. The firmware starts a kernel directly, by one of its
// boot entries or from its shell. What the installer of early NixOS (efi-boot-stub-builder.sh)
// writes for the shell are files; boot entries are made with efibootmgr.
func efiStub() loader {
	return loader{
		kind: EFIStub,
		form: `boot entries of the firmware that start the kernel
directly (made with efibootmgr), and scripts for the
firmware's shell, efi/nixos/generation-*-startup.nsh`,
		files: []string{
			"efi/nixos/generation-*-startup.nsh", "EFI/nixos/generation-*-startup.nsh", "startup.nsh",
		},
		read: lines(func(p *parser, n int, _, _, line string) {
			p.open()
			p.options(line)
			for _, m := range initrdParameter().FindAllStringSubmatch(line, -1) {
				p.initrd(n, m[2])
			}
			p.current.Title = strings.TrimSuffix(path.Base(p.file), "-startup.nsh")
		}),
		firmware: (*Menu).addVariables,
		name: func(_ *Menu, _, initrd string) string {
			return `\` + strings.ReplaceAll(initrd, "/", `\`)
		},
		rename: parameter,
		finish: ownImages,
	}
}
