package bootloader

// initScript is the loader of nixpkgs' init-script.nix: /sbin/init, a script that executes the
// second stage. What starts it, a container or a kernel with its own drivers, has loaded no initrd
// of NixOS.
func initScript() loader {
	return loader{
		kind:    InitScript,
		nothing: "starts a system without an initrd, so there is nothing to add secrets to",
	}
}
