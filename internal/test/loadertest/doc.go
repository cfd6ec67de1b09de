// Package loadertest re-enacts how boot loaders' installers on NixOS call an initrd secrets
// appender, and judges what becomes bootable by it.
//
// These are re-enactments: small models in our own words of what the scripts in nixpkgs and
// lanzaboote do with files, names, exit statuses and umask. They run no loader, no firmware and no
// kernel; package vmtests does that. What they are for is to run one appender through everything
// that installers do to it, a hundred times, in seconds, and to run another one (a stock-style
// shell script, or one that `make conformance` is given) through the same for comparison.
//
// Read from:
//
//	systemd-boot old  nixpkgs 379460a0, systemd-boot-builder.py: works in place on the ESP
//	systemd-boot new  nixpkgs 26.11 (nixos-<content hash>.conf): a temporary copy beside the target
//	GRUB              nixpkgs bb271d90, install-grub.pl
//	limine            nixpkgs 47e400a9, limine-install.py; joined without padding, as limine
//	                  before 12.4.0 does, and with
//	lanzaboote        lanzaboote f142433, rust/tool/systemd/src/install.rs (the signed stub is a
//	                  file with a hash)
package loadertest
