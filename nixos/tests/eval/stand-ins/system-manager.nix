# What numtide/system-manager 1.2 has of the options that the module uses: no initrd, no activation
# scripts but by name, and no release. A stand-in, as nixos.nix is one for NixOS.
{ lib, ... }:

let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  set = option (types.attrsOf types.unspecified) { };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];
    # Whoever reads it fails.
    boot = mkOption { type = types.raw; };
    environment.systemPackages = option (types.listOf types.package) [ ];
    services = {
      openssh.enable = option types.bool false;
      openssh.hostKeys = option (types.listOf types.unspecified) [ ];
      userborn.enable = option types.bool true;
    };
    system = {
      build = mkOption {
        default = { };
        type = types.submodule { freeformType = types.lazyAttrsOf (types.uniq types.unspecified); };
      };
      activationScripts = lib.genAttrs [
        "generate-age-key"
        "setupSecrets"
        "setupSecretsForUsers"
      ] (_: option types.raw "") // { users = option types.str ""; };
    };
    systemd = {
      services = option (types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; })) { };
      targets = set;
      sysusers.enable = option types.bool false;
      tmpfiles.rules = option (types.listOf types.str) [ ];
    };
    users.users = set;
    users.mutableUsers = option types.bool true;
  };

  # system-manager's own compatibility with sops-nix
  config.sops.useSystemdActivation = lib.mkDefault true;
}
