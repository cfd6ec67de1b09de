# Secrets from sops files, at activation and in the initrd. Every file is one concern.
{ lib, ... }:

let
  shared = import ./shared.nix { inherit lib; };
in
{
  imports = map (file: lib.modules.importApply file shared) [
    ./options.nix
    ./secrets.nix
    ./templates.nix
    ./manifest.nix
    ./activation.nix
    ./units.nix
    ./initrd.nix
    ./stage-1.nix
    ./seal.nix
    ./monitor.nix
    ./lockout.nix
    ./assertions.nix
    ./initrd-assertions.nix
  ] ++ [ ./loader.nix ];
}
