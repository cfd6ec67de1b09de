# Options of NixOS that the documentation's examples set, beyond those of the stand-ins in nixos/tests/eval. They have the types
# that NixOS gives them.
{ lib, ... }:

let
  inherit (lib) mkOption types;

  option = type: default: mkOption { inherit type default; };
in
{
  options = {
    boot.initrd.availableKernelModules = option (types.listOf types.str) [ ];
  };
}
