# What NixOS has in the machines of its tests, beyond what every machine has.
{ config, lib, pkgs, ... }:

{
  options = {
    virtualisation = lib.mkOption {
      type = lib.types.submodule { freeformType = lib.types.attrsOf lib.types.anything; };
      default = { };
    };
    system.extraDependencies = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
    };
  };

  config = {
    # qemu-vm.nix: without a boot loader nobody runs the hook
    boot.loader.supportsInitrdSecrets = lib.mkIf (!(config.virtualisation.useBootLoader or false)) (
      lib.mkForce false
    );
    system.build.toplevel = pkgs.writeText "nixos-system" "";
  };
}
