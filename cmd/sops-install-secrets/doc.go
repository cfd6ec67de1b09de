// Sops-install-secrets decrypts the secrets of a manifest and installs them with their owners and
// modes, as the NixOS module asks it to at activation.
//
// Usage:
//
//	sops-install-secrets [-ignore-passwd] [-strict] [-json] MANIFEST
//	sops-install-secrets -check-mode manifest|sopsfile MANIFEST
//	sops-install-secrets -version
//
// The secrets go into a new generation, a numbered directory in a file system in memory that is
// never swapped out. When it is complete, the link /run/secrets is turned to it by one rename, so
// that a reader sees the old secrets or the new ones, never a mixture. Templates are rendered
// into /run/secrets/rendered. A secret or template whose path is somewhere else gets a symbolic
// link there.
//
// # Failure
//
// Each secret stands for itself. All that can be installed is installed. A secret that cannot,
// because it cannot be decrypted or its owner does not exist, keeps the file that it has in the
// live generation, if any: content, owner and mode. A template that uses it keeps its file, too.
// Every fault is reported and the exit status is 1. With -strict nothing is changed if there is
// any fault.
//
// A run can be killed at any moment: the old generation is live and whole, or the new one is. The
// next run removes what was left, and restarts the units that were not told. Runs wait for each
// other.
//
// # Units
//
// Units that are to be restarted or reloaded when a secret or template changes are written to
// /run/nixos/activation-restart-list and activation-reload-list, where switch-to-configuration
// finds them. If SOPS_RESTART_UNITS_VIA_SYSTEMCTL is 1, systemctl is called instead. Nothing is
// restarted when there was no generation before, as at boot. In user mode the units are those of
// the user's systemd, if it runs.
//
// # Dry activation
//
// If NIXOS_ACTION is dry-activate, the secrets are decrypted in memory and compared with those
// that are live. What would change is printed, and the units are written to
// /run/nixos/dry-activation-restart-list and dry-activation-reload-list. Nothing is mounted,
// locked or written otherwise.
//
// # Environment
//
//	NIXOS_ACTION                      see above
//	SOPS_RESTART_UNITS_VIA_SYSTEMCTL  see above
//	XDG_RUNTIME_DIR                   what %r stands for in the paths of a user's manifest; if it
//	                                  is not set, /run/user/UID or else /dev/shm/sops-nix-UID
//
// Variables of sops, such as SOPS_AGE_KEY, SOPS_GPG_EXEC or cloud credentials, are honoured after
// the key sources of the manifest.
//
// # Exit status
//
// 0 everything is done; 1 something failed, standard error says what; 2 the command line is wrong.
package main
