# Secrets of a user, installed by home-manager. It shares with ../nixos what a secret, a template and
# a manifest are.
{ lib, ... }:

let
  shared = import ../nixos/shared.nix { inherit lib; };
in
{
  imports = map (file: lib.modules.importApply file shared) [
    ./options.nix
    ./manifest.nix
    ./activation.nix
    ./assertions.nix
  ];
}
