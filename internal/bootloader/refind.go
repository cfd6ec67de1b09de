package bootloader

import "strings"

// refind is rEFInd, as NixOS's refind-install.py writes its menu.
func refind() loader {
	return loader{
		kind: REFInd,
		form: "efi/refind/refind.conf",
		files: []string{
			"efi/refind/refind.conf", "EFI/refind/refind.conf",
			"efi/boot/refind.conf", "EFI/BOOT/refind.conf",
		},
		read: lines(func(p *parser, n int, word, rest, _ string) {
			switch word {
			case "menuentry", "submenuentry":
				p.begin(strings.Trim(strings.TrimSuffix(rest, "{"), `" `))
			case "options":
				p.options(rest)
			case "initrd":
				for _, name := range names(rest) {
					p.initrd(n, name)
				}
			}
		}),
		name:   fromTop,
		rename: lastWord,
		finish: ownImages,
	}
}
