# The packages of this repository under the names that users of sops-nix know, and sops-initrd.
# nixpkgs' own ssh-to-age and ssh-to-pgp stay: other packages use them, on every platform.
final: _:
removeAttrs (import ../default.nix { pkgs = final; }) [
  "default"
  "ssh-to-age"
  "ssh-to-pgp"
]
