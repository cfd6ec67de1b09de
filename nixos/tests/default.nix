# One NixOS test in virtual machines for every other file of this directory, named after it. `nix
# flake check` runs them.
{
  pkgs ? import <nixpkgs> { },
}:

let
  inherit (pkgs) lib;

  files = lib.filterAttrs (
    name: type: type == "regular" && lib.hasSuffix ".nix" name && name != "default.nix"
  ) (builtins.readDir ./.);
in
lib.mapAttrs' (
  file: _:
  let
    name = lib.removeSuffix ".nix" file;
  in
  lib.nameValuePair "nixos-${name}" (
    pkgs.testers.runNixOSTest {
      imports = [ (./. + "/${file}") ];
      name = "sops-${name}";
      defaults.imports = [ ../../modules/sops ];
    }
  )
) files
