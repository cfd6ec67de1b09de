# The packages of this repository under the names that users of the reference know, and sops-initrd.
final: _:
removeAttrs (import ../default.nix { pkgs = final; }) [ "default" ]
